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

// What models are held to, whether options or a file describe them.
inline constexpr std::int64_t kLargestImage = 4096, kMostClasses = 100'000;
inline constexpr double kLargestWidth = 16;

// Throws a usage error on an unknown name, too small an image, fewer than 2 classes, or more.
std::unique_ptr<Classifier> make_model(const ModelConfig& config);

}  // namespace tapescope
