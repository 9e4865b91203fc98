#include "tools/tasks/classification/onnx_run.h"

#include <algorithm>

#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"
#include "tools/tasks/classification/classification.h"

namespace tapescope::tasks {
namespace {

constexpr const char* kNormalisations =
    "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (torchvision, most of timm), --mean 0.5 "
    "--std "
    "0.5, or --mean 0 --std 1 (pixels from 0 to 1)";

std::int64_t picture_size(const RunRequest& asked, const onnx::PictureInput& input,
                          const onnx::Metadata& said) {
  const std::string file = shown(asked.run);
  if (input.height != input.width) {
    throw usage_error(
        "'{}' takes pictures of {}x{}; only square ones are made for it. `predict "
        "--raw` takes arrays",
        file, input.height, input.width);
  }
  const std::int64_t size = asked.onnx.image_size != 0 ? asked.onnx.image_size
                            : input.height != 0        ? input.height
                                                       : said.image_size;
  if (size == 0) {
    throw usage_error(
        "'{}' does not say the size of its pictures: give --image-size, for instance "
        "--image-size 224",
        file);
  }
  if (input.height != 0 && size != input.height) {
    throw usage_error("'{}' takes pictures of {}x{}, not of --image-size {}", file, input.height,
                      input.width, size);
  }
  if (size < 1 || size > kLargestImage) {
    throw usage_error("--image-size is {}; it must be 1 to {}", size, kLargestImage);
  }
  return size;
}

Normalize normalisation_of(const RunRequest& asked, const onnx::Metadata& said,
                           std::int64_t channels) {
  Normalize normalize{said.mean, said.std};
  if (!asked.onnx.mean.empty()) normalize.mean = onnx::numbers_in("--mean", asked.onnx.mean);
  if (!asked.onnx.std.empty()) normalize.std = onnx::numbers_in("--std", asked.onnx.std);
  if (normalize.mean.empty() || normalize.std.empty()) {
    throw usage_error("'{}' does not say how its pictures are normalised: give {}",
                      shown(asked.run), kNormalisations);
  }
  if (std::find(normalize.std.begin(), normalize.std.end(), 0.0) != normalize.std.end()) {
    throw usage_error("'{}': pictures are divided by --std, which must not be 0", shown(asked.run));
  }
  const auto fits = [&](const std::vector<double>& v) {
    return v.size() == 1 || v.size() == static_cast<std::size_t>(channels);
  };
  if (!fits(normalize.mean) || !fits(normalize.std)) {
    throw usage_error(
        "'{}' takes pictures of {} channels, but the normalisation has {} and {} "
        "numbers",
        shown(asked.run), channels, normalize.mean.size(), normalize.std.size());
  }
  return normalize;
}

std::vector<std::string> classes_of(const RunRequest& asked, const onnx::Metadata& said,
                                    std::int64_t count, std::vector<std::string>& notices) {
  std::vector<std::string> classes = said.classes;
  if (!asked.onnx.class_names.empty()) classes = lines_of(asked.onnx.class_names);
  if (classes.empty()) {
    notices.push_back(fmt::format(
        "'{}' does not name its {} classes: they are called by their numbers; --class-names FILE "
        "gives names, one per line",
        shown(asked.run), count));
    for (std::int64_t c = 0; c < count; ++c) classes.push_back(std::to_string(c));
  }
  if (static_cast<std::int64_t>(classes.size()) != count) {
    throw usage_error("'{}' answers {} numbers, but {} classes are named", shown(asked.run), count,
                      classes.size());
  }
  return classes;
}

}  // namespace

LoadedModel open_onnx(const RunRequest& asked, std::vector<std::string>& notices) {
  onnx::Graph graph = onnx::read_graph(asked.run, {.allow_outside = asked.allow_outside});
  const onnx::Metadata said = onnx::metadata_of(graph.metadata);
  if (!asked.onnx.outputs.empty()) onnx::cut(graph, comma_separated(asked.onnx.outputs));
  if (said.task == "detect" || said.task == "segment") {
    throw usage_error(
        "'{}' is a net for the task '{}', whose answers are not read yet; `predict "
        "--raw` gives its numbers",
        shown(asked.run), shown(said.task));
  }
  const onnx::PictureInput input = onnx::picture_input(graph);
  LoadedModel loaded;
  loaded.path = asked.run;
  ModelInfo& info = loaded.info;
  info.config.name = std::filesystem::path(asked.run).stem().string();
  info.config.image_size = picture_size(asked, input, said);
  info.config.channels = input.channels != 0 ? input.channels : 3;
  const Normalize normalize = normalisation_of(asked, said, info.config.channels);
  const int side = static_cast<int>(info.config.image_size);
  if (asked.onnx.resize != 0 && asked.onnx.resize < info.config.image_size) {
    throw usage_error(
        "--resize {} makes pictures smaller than the {}x{} that are cut out of them; give at least "
        "{}",
        asked.onnx.resize, side, side, side);
  }
  const int shorter = asked.onnx.resize != 0 ? static_cast<int>(asked.onnx.resize) : side;
  info.pipeline =
      Pipeline({Resize{.short_side = shorter}, CenterCrop{side, side}, ToTensor{}, normalize});
  info.exif = Exif::apply;
  loaded.model = onnx::classifier_of(std::move(graph), info.config, notices);
  expect_finite(*loaded.model, asked.run, {.allow_non_finite = asked.allow_non_finite});
  info.config.classes = loaded.model->config().classes;
  info.classes = classes_of(asked, said, info.config.classes, notices);
  if (!said.license.empty()) {
    notices.push_back(
        fmt::format("'{}' says its licence is {}", shown(asked.run), shown(said.license)));
  }
  return loaded;
}

std::unique_ptr<Run> ClassificationKit::open_onnx(const RunRequest& asked) const {
  std::vector<std::string> notices;
  LoadedModel loaded = tasks::open_onnx(asked, notices);
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  return std::make_unique<ClassificationRun>(*this, asked, std::move(loaded));
}

}  // namespace tapescope::tasks
