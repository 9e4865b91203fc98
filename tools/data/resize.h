// Bilinear resizing with antialiasing, as Pillow and torchvision do it for 8-bit pictures.
#pragma once

#include "tools/data/image.h"

namespace tapescope {

// Rows and columns each become weighted sums of source pixels; the triangle's support grows with
// the reduction, so that no source pixel is skipped (Pillow's "bilinear", torchvision's default).
// Weights are 22-bit fixed point and columns are rounded to 8 bits between the passes, which makes
// the result equal to Pillow's bit for bit (to 1/255 where a recent Pillow does rows first because
// that is cheaper).
//
// `source` may be a window of a larger picture: `row_stride` is in bytes. Throws a usage error
// where a size is below 1.
Image resize_bilinear(const ImageView& source, std::ptrdiff_t row_stride, int height, int width);
Image resize_bilinear(const Image& source, int height, int width);

}  // namespace tapescope
