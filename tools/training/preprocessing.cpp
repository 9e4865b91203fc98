#include "tools/training/preprocessing.h"

#include <cmath>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

Pipeline imagenet() {
  return Pipeline(
      {Resize{.short_side = 256}, CenterCrop{224, 224}, ToTensor{}, imagenet_normalize()});
}

// Of a picture that is no square, so that what keeps proportions is seen.
Shape output_of(const Pipeline& pipeline) {
  const Normalize normalize = normalization_of(pipeline);
  const int channels = normalize.mean.size() == 1 ? 1 : static_cast<int>(normalize.mean.size());
  return pipeline.output_shape(4096, 3000, channels);
}

}  // namespace

Normalize normalization_of(const Pipeline& pipeline) {
  for (const Transform& step : pipeline.transforms()) {
    if (const auto* normalize = std::get_if<Normalize>(&step)) return *normalize;
  }
  return {{0.0}, {1.0}};
}

Pipeline preprocessing_from(const std::string& text) {
  if (text == "imagenet") return imagenet();
  if (!text.starts_with('[')) {
    throw usage_error(
        "--preprocess is '{}'; it must be auto, data, imagenet or a list of transforms as JSON",
        printable(text));
  }
  const Pipeline pipeline = Pipeline::from_json(text);
  if (pipeline.is_random()) {
    throw usage_error("--preprocess {} draws at random; that is --augment's", printable(text));
  }
  const Shape shape = output_of(pipeline);
  if (shape[0] != shape[1]) {
    throw usage_error("--preprocess {} makes {}x{} of a picture of 3000x4096; it must make squares",
                      printable(text), shape[1], shape[0]);
  }
  return pipeline;
}

std::string preprocessing_of(const WeightsFile& file) {
  const auto found = file.metadata().find("tapescope.pipeline");
  if (found == file.metadata().end()) return "";
  try {
    const Pipeline pipeline = Pipeline::from_json(found->second);
    // Files of before, and of others, may leave the size to the net's input.
    if (std::holds_alternative<ToTensor>(pipeline.transforms().front())) return "";
    return preprocessing_from(found->second).to_json();
  } catch (const Error& error) {
    throw usage_error("'{}' has damaged metadata (tapescope.pipeline): {}",
                      printable(file.path().string()), error.what());
  }
}

int side_of(const Pipeline& pipeline) { return static_cast<int>(output_of(pipeline)[0]); }

Pipeline rescaled(const Pipeline& pipeline, int side) {
  const double scale = static_cast<double>(side) / side_of(pipeline);
  const auto scaled = [&](int size) { return static_cast<int>(std::lround(size * scale)); };
  std::vector<Transform> steps;
  for (Transform step : pipeline.transforms()) {
    if (auto* resize = std::get_if<Resize>(&step)) {
      resize->height = scaled(resize->height);
      resize->width = scaled(resize->width);
      resize->short_side = scaled(resize->short_side);
    } else if (auto* crop = std::get_if<CenterCrop>(&step)) {
      crop->height = scaled(crop->height);
      crop->width = scaled(crop->width);
    }
    steps.push_back(std::move(step));
  }
  return Pipeline(std::move(steps));
}

}  // namespace tapescope
