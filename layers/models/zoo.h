// The models that can be named on the command line.
#pragma once

#include <memory>

#include "layers/module.h"

namespace tapescope {

struct ModelDescription {
  std::string_view name;
  std::string_view summary;         // one line
  std::int64_t default_image_size;  // what `train` takes where nothing else is said
  std::int64_t smallest_image;      // height and width
};
std::span<const ModelDescription> model_descriptions();
// Throws a usage error naming the known models.
const ModelDescription& describe_model(std::string_view name);

// Throws a usage error on an unknown name, an image that is too small, or fewer than 2 classes.
std::unique_ptr<Classifier> make_model(const ModelConfig& config);

}  // namespace tapescope
