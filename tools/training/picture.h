// Pictures named by the user, made ready for a model.
#pragma once

#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/training/checkpoint.h"

namespace tapescope {

struct Picture {
  std::string path;  // as given
  std::string stem;  // what files made of it are called
  Image image;       // as in the file
  Tensor input;      // f32 {1, H, W, C}, through the model's pipeline
};

// A picture file, or "FILE[index]" for a picture of an IDX file. Throws a usage error where it
// cannot be read or does not suit the model.
Picture read_picture(const std::string& path, const ModelInfo& info);
// The same of a picture that has been decoded; `stem` is made of `path`.
Picture make_picture(Image image, const std::string& path, const ModelInfo& info);

}  // namespace tapescope
