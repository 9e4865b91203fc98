// Pictures named on the command line, made ready for a model.
#pragma once

#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {

struct Picture {
  std::string path;
  Image image;   // as in the file
  Tensor input;  // f32 {1, H, W, C}, through the model's pipeline
};

Picture read_picture(const std::string& path, const ModelInfo& info);

}  // namespace tapescope::cli
