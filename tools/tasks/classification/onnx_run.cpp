#include "tools/tasks/classification/onnx_run.h"

#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/classification/units_run.h"
#include "tools/tasks/onnx_facts.h"

namespace tapescope::tasks {
namespace {

constexpr const char* kNormalisations =
    "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (torchvision, most of timm), --mean 0.5 "
    "--std "
    "0.5, or --mean 0 --std 1 (pixels from 0 to 1)";

// Height and width of a net's pictures, into its configuration.
void find_size(const RunRequest& asked, const onnx::PictureInput& input, const onnx::Metadata& said,
               ModelConfig& config) {
  const std::string file = shown(asked.run);
  const std::int64_t size = asked.onnx.image_size != 0 ? asked.onnx.image_size : said.image_size;
  const std::int64_t width = asked.onnx.image_width != 0 ? asked.onnx.image_width : size;
  config.image_size = input.height != 0 ? input.height : size;
  config.image_width = input.width != 0 ? input.width : width;
  if (config.image_size == 0 || config.image_width == 0) {
    throw usage_error(
        "'{}' does not say the size of its pictures: give --image-size, for instance "
        "--image-size 224",
        file);
  }
  const bool sized = asked.onnx.image_size != 0;
  if ((sized && config.image_size != size) ||
      ((sized || asked.onnx.image_width != 0) && config.image_width != width)) {
    throw usage_error("'{}' takes pictures of {}x{}, not of --image-size {}", file,
                      config.image_size, config.image_width, asked.onnx.image_size);
  }
  for (const std::int64_t extent : {config.image_size, config.image_width}) {
    if (extent >= 1 && extent <= kLargestImage) continue;
    throw usage_error("'{}' takes pictures of {}x{}; each must be 1 to {}", file, config.image_size,
                      config.image_width, kLargestImage);
  }
}

// A square is cut out of the middle; other pictures are resized to the net's height and width.
std::vector<Transform> geometry_of(const RunRequest& asked, const ModelConfig& config) {
  const int height = static_cast<int>(config.image_size);
  const int width = static_cast<int>(config.image_width);
  if (height != width) {
    if (asked.onnx.resize != 0) {
      throw usage_error(
          "--resize is of nets of square pictures; those of '{}' are resized to {}x{} as they are",
          shown(asked.run), height, width);
    }
    return {Resize{.height = height, .width = width}};
  }
  const int shorter = asked.onnx.resize != 0 ? static_cast<int>(asked.onnx.resize) : height;
  if (shorter < height) {
    throw usage_error(
        "--resize {} makes pictures smaller than the {}x{} that are cut out of them; give at least "
        "{}",
        shorter, height, height, height);
  }
  return {Resize{.short_side = shorter}, CenterCrop{height, height}};
}

// "[0,12,20]" each, in order.
std::vector<std::string> unit_names(const RunRequest& asked, const Shape& answer) {
  constexpr std::int64_t kMost = std::int64_t{1} << 22;
  if (answer.elements() > kMost) {
    throw usage_error(
        "'{}' answers {} numbers for a picture; at most {} are told apart: take a smaller "
        "--image-size, or name a smaller value with --outputs",
        shown(asked.run), answer.elements(), kMost);
  }
  std::vector<std::string> names;
  for (std::int64_t unit = 0; unit < answer.elements(); ++unit) {
    std::string name = "]";
    std::int64_t rest = unit;
    for (int axis = answer.rank(); axis-- > 0; rest /= answer[axis]) {
      name = fmt::format("{}{}{}", axis > 0 ? "," : "[", rest % answer[axis], name);
    }
    names.push_back(std::move(name));
  }
  return names;
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
  find_size(asked, input, said, info.config);
  info.config.channels = input.channels != 0 ? input.channels : 3;
  const Normalize normalize = normalisation_of(asked, said, info.config.channels);
  std::vector<Transform> steps = geometry_of(asked, info.config);
  steps.insert(steps.end(), {ToTensor{}, normalize});
  info.pipeline = Pipeline(std::move(steps));
  info.exif = Exif::apply;
  std::unique_ptr<onnx::OnnxClassifier> net =
      onnx::classifier_of(std::move(graph), info.config, notices);
  expect_finite(*net, asked.run, {.allow_non_finite = asked.allow_non_finite});
  info.config.classes = net->config().classes;
  info.classes = net->gives_classes() ? classes_of(asked, said, info.config.classes, notices)
                                      : unit_names(asked, net->answer());
  loaded.model = std::move(net);
  tell_licence(asked, said, notices);
  return loaded;
}

std::unique_ptr<Run> ClassificationKit::open_onnx(const RunRequest& asked,
                                                  onnx::Graph& graph) const {
  std::vector<std::string> notices;
  const std::string output = graph.outputs.empty() ? "" : graph.outputs[0].name;
  LoadedModel loaded = tasks::open_onnx(asked, graph, notices);
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  if (dynamic_cast<const onnx::OnnxClassifier&>(*loaded.model).gives_classes()) {
    return std::make_unique<ClassificationRun>(*this, asked, std::move(loaded));
  }
  return std::make_unique<UnitsRun>(*this, asked, std::move(loaded), output);
}

}  // namespace tapescope::tasks
