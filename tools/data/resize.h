// Resizing with antialiasing, as Pillow and torchvision do it for 8-bit pictures.
#pragma once

#include <string>

#include "tools/data/image.h"

namespace tapescope {

// The filter: a triangle (Pillow's and torchvision's "bilinear") or a cubic (Keys 1981, a = -1/2;
// their "bicubic").
enum class Interpolation : std::uint8_t { bilinear, bicubic };
const char* name_of(Interpolation interpolation);
Interpolation interpolation_from(const std::string& name);  // a usage error for any other name

// Rows and columns each become weighted sums of source pixels; the filter's support grows with
// the reduction, so that no source pixel is skipped.
// Weights are 22-bit fixed point and columns are rounded to 8 bits between the passes, which makes
// the result equal to Pillow's bit for bit (to 1/255 where a recent Pillow does rows first because
// that is cheaper).
//
// `source` may be a window of a larger picture: `row_stride` is in bytes. Throws a usage error
// where a size is below 1.
Image resized_image(const ImageView& source, std::ptrdiff_t row_stride, int height, int width,
                    Interpolation interpolation);
// A part of the result, for the price of the part. It is not empty.
struct ImagePart {
  int top = 0, left = 0, height = 0, width = 0;
};
Image resized_image(const ImageView& source, std::ptrdiff_t row_stride, int height, int width,
                    Interpolation interpolation, const ImagePart& part);
Image resized_image(const Image& source, int height, int width, Interpolation interpolation);
Image resize_bilinear(const ImageView& source, std::ptrdiff_t row_stride, int height, int width);
Image resize_bilinear(const Image& source, int height, int width);

}  // namespace tapescope
