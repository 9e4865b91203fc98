// Pictures named by the user, made ready for a model.
#pragma once

#include <string>
#include <vector>

#include "engine/tensor.h"
#include "tools/data/exif.h"
#include "tools/data/image.h"
#include "tools/data/transforms.h"

namespace tapescope {

// How a picture becomes a model's input.
struct Preprocess {
  Pipeline pipeline;
  Shape image;              // {H,W,C} that the model sees
  Exif exif = Exif::apply;  // how files are read
  int channels() const { return static_cast<int>(image[2]); }
};

struct Picture {
  std::string path;  // as given
  std::string stem;  // what files made of it are called
  Image image;       // as in the file
  Tensor input;      // f32 {1, H, W, C}, through the model's pipeline
};

// A picture file, or "FILE[index]" for a picture of an IDX file. Throws a usage error where it
// cannot be read or does not suit the model.
Picture read_picture(const std::string& path, const Preprocess& preprocess);
// The same of a picture that has been decoded; `stem` is made of `path`.
Picture make_picture(Image image, const std::string& path, const Preprocess& preprocess);

// Between a model's input and its pixels from 0 to 1, f32 {N,H,W,C} both: the normalisation of its
// pipeline and nothing else.
struct PixelScale {
  std::vector<double> mean, std;  // by channel
  Tensor into_input(const Tensor& pixels) const;
  Tensor into_pixels(const Tensor& input) const;
  Tensor gradient(const Tensor& of_input) const;  // with respect to the pixels
};
PixelScale pixel_scale(const Preprocess& preprocess);
// Pixels {1,H,W,C} as a picture, rounded to 8 bits.
Image image_of(const Tensor& pixels);

}  // namespace tapescope
