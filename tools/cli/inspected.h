// A model with its record and its data, whatever it was trained for: what `inspect` and `report`
// look at.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli/cli.h"
#include "tools/detection/detector_file.h"
#include "tools/inspection/structure.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {

// Pictures of a split, as the model is given them and as they are stored.
struct InspectedData {
  std::shared_ptr<const SampleSource> samples;  // "image" is among their tensors
  std::shared_ptr<const Task> task;             // to be scored by
  std::function<std::string(std::int64_t index)> name;
  std::function<Image(std::int64_t index)> picture;
  std::vector<std::string> notices;
};

struct InspectedModel {
  // One of them is there.
  std::optional<LoadedModel> classifier;
  std::optional<detection::LoadedDetector> detector;
  bool allow_outside = false;  // names in the data's files may lead out of it

  Model& model() const;
  std::string name() const;                         // "resnet18"
  Shape image() const;                              // {H,W,C}
  const std::vector<std::string>& classes() const;  // none of a new model
  const std::filesystem::path& path() const;        // of the model file
  // At most `limit` pictures, evenly over the split; 0: all. Throws a usage error where the folder
  // is not of the model's kind or classes.
  InspectedData data(const std::string& folder, const std::string& split,
                     std::int64_t limit = 0) const;
};

// Usage errors as load_model's.
InspectedModel open_model(const RunOptions& run);

// --run RUN, or --model NAME with its sizes: a trained model or a new one.
struct ModelSource {
  RunOptions run;
  ModelConfig model{.name = "", .classes = 0, .channels = 3, .image_size = 0};
  void add_to(CLI::App& app);
  // Throws a usage error where neither or both are named. The model is on the run's device.
  InspectedModel open();
};

// The model as what structures and activations are read from. `model` must outlive it.
inspection::Record record_of(Model& model);
Shape image_shape_of(const ModelConfig& config);  // {H,W,C}

// Samples as the model is given them, without augmentation: f32 {N,H,W,C}.
Tensor inputs_of(const SampleSource& samples, std::span<const std::int64_t> indices);

}  // namespace tapescope::cli
