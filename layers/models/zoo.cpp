#include "layers/models/zoo.h"

#include "engine/remedy.h"
#include "layers/models/backbones/backbones.h"

// The list of models: a new one is a line here and a file beside it, which defines make_<name>.
// Name, one line about it, the image size that `train` takes by itself, the smallest.
// clang-format off
#define TAPESCOPE_MODELS(MODEL)                                                                \
  MODEL(lenet, "two 5x5 convolutions and two linear layers; for small grey images", 28, 8)     \
  MODEL(mlp, "three linear layers", 28, 1)                                                     \
  MODEL(seednet, "seven convolutions and spatial means: its class maps localise", 224, 8)      \
  MODEL(resnet18, "torchvision's 18-layer residual network", 224, 16)                          \
  MODEL(resnet20, "the 20-layer residual network for 32x32 images", 32, 8)
// clang-format on

namespace tapescope {

#define TAPESCOPE_DECLARE(name, ...) std::unique_ptr<Classifier> make_##name(const ModelConfig&);
TAPESCOPE_MODELS(TAPESCOPE_DECLARE)

namespace {

struct Entry {
  ModelDescription description;
  std::unique_ptr<Classifier> (*make)(const ModelConfig&);
};

#define TAPESCOPE_ENTRY(name, ...) {{#name, __VA_ARGS__}, make_##name},
const std::vector<Entry>& zoo() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> entries = {TAPESCOPE_MODELS(TAPESCOPE_ENTRY)};
    for (const backbones::Backbone& b : backbones::all()) {
      entries.push_back({{b.name, b.summary, 224, b.smallest_image}, b.make});
    }
    return entries;
  }();
  return all;
}

const Entry& entry_of(std::string_view name) {
  std::string known;
  for (const Entry& entry : zoo()) {
    if (entry.description.name == name) return entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.description.name);
  }
  throw usage_error("unknown model '{}'; known are {}", name, known);
}

}  // namespace

std::span<const ModelDescription> model_descriptions() {
  static const std::vector<ModelDescription> all = [] {
    std::vector<ModelDescription> descriptions;
    for (const Entry& entry : zoo()) descriptions.push_back(entry.description);
    return descriptions;
  }();
  return all;
}

const ModelDescription& describe_model(std::string_view name) { return entry_of(name).description; }

std::unique_ptr<Classifier> make_model(const ModelConfig& config) {
  const Entry& entry = entry_of(config.name);
  if (config.image_size < entry.description.smallest_image) {
    throw ErrorWithRemedy(
        Remedy::larger_images,
        usage_error(
            "images of {0}x{0} are too small for {1}: it needs at least {2}x{2}; use larger "
            "images or another model",
            config.image_size, config.name, entry.description.smallest_image));
  }
  if (config.classes < 2 || config.classes > kMostClasses || config.channels < 1 ||
      config.channels > 3 || !(config.width > 0) || config.width > kLargestWidth ||
      config.image_size > kLargestImage) {
    throw usage_error(
        "{} cannot be built for {} classes, {} channels, width {}, images of {}: it needs 2 "
        "classes "
        "and takes {}, 3 channels, width {}, images of {} at most",
        config.name, config.classes, config.channels, config.width, config.image_size, kMostClasses,
        kLargestWidth, kLargestImage);
  }
  return entry.make(config);
}

}  // namespace tapescope
