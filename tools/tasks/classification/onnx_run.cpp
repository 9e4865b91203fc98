#include "tools/tasks/classification/onnx_run.h"

#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/onnx_facts.h"

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
  check_normalisation(asked, normalize, channels);
  return normalize;
}

}  // namespace

LoadedModel open_onnx(const RunRequest& asked, onnx::Graph& graph,
                      std::vector<std::string>& notices) {
  const onnx::Metadata said = onnx::metadata_of(graph.metadata);
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
  tell_licence(asked, said, notices);
  return loaded;
}

std::unique_ptr<Run> ClassificationKit::open_onnx(const RunRequest& asked,
                                                  onnx::Graph& graph) const {
  std::vector<std::string> notices;
  LoadedModel loaded = tasks::open_onnx(asked, graph, notices);
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  return std::make_unique<ClassificationRun>(*this, asked, std::move(loaded));
}

}  // namespace tapescope::tasks
