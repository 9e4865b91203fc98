// An ONNX file as a run: a detector that somebody else trained.
#include "tools/detection/onnx_detector.h"
#include "tools/files/text_file.h"
#include "tools/onnx/net.h"
#include "tools/onnx/patterns.h"
#include "tools/tasks/detection/detection.h"
#include "tools/tasks/onnx_facts.h"
#include "tools/training/weights.h"

namespace tapescope::tasks {

using namespace detection;

namespace {

bool finds_boxes(const onnx::Metadata& said) {
  return said.task == "detect" || said.task == "segment" || said.task == "pose";
}

// Whether a look at inputs and outputs alone leaves it possible.
bool may_be(const onnx::Graph& graph) {
  if (graph.inputs.size() != 1 || graph.outputs.empty()) return false;
  const onnx::Port &input = graph.inputs[0], &output = graph.outputs[0];
  const bool picture = onnx::is_floating(input.type) && input.ranked && input.extents.size() == 4;
  return picture && (!output.ranked || output.extents.size() == 3);
}

// Throws a usage error where the file is certainly a detector and its size is not to be had.
bool find_size(const RunRequest& asked, const onnx::PictureInput& input, const onnx::Metadata& said,
               HeadRequest& request) {
  const std::int64_t usual = asked.onnx.image_size != 0 ? asked.onnx.image_size : said.image_size;
  request.height = input.height != 0 ? input.height : usual;
  const std::int64_t width = asked.onnx.image_width != 0 ? asked.onnx.image_width : usual;
  request.width = input.width != 0 ? input.width : width;
  const bool sized = asked.onnx.image_size != 0;
  const bool fits = (!sized || request.height == usual) &&
                    ((!sized && asked.onnx.image_width == 0) || request.width == width);
  if (!fits && request.certain) {
    throw usage_error("'{}' takes pictures of {}x{}, not of --image-size {}", shown(asked.run),
                      input.width, input.height, asked.onnx.image_size);
  }
  if (request.height == 0 && request.certain) {
    throw usage_error(
        "'{}' does not say the size of its pictures: give --image-size, for "
        "instance --image-size 640",
        shown(asked.run));
  }
  if (request.height > kLargestImage || request.width > kLargestImage) {
    throw usage_error("'{}' takes pictures of {}x{}; at most {} is possible", shown(asked.run),
                      request.width, request.height, kLargestImage);
  }
  return fits && request.height > 0 && request.width > 0;
}

// YOLOX's pixels are 0 to 255, at the upper left; others' 0 to 1, in the middle.
InputForm form_of(const RunRequest& asked, const onnx::Metadata& said, HeadKind kind) {
  InputForm form;
  form.corner = kind == HeadKind::yolox;
  form.mean = said.mean.empty() ? std::vector<double>{0} : said.mean;
  form.std = !said.std.empty() ? said.std : std::vector<double>{form.corner ? 1.0 / 255 : 1};
  if (!asked.onnx.mean.empty()) form.mean = onnx::numbers_in("--mean", asked.onnx.mean);
  if (!asked.onnx.std.empty()) form.std = onnx::numbers_in("--std", asked.onnx.std);
  check_normalisation(asked, {form.mean, form.std}, 3);
  return form;
}

std::string sentence_of(const OnnxHead& head, const DetectorConfig& config) {
  static constexpr const char* kNames[] = {"yolov8", "yolov5", "yolox", "yolo26", "raw"};
  std::string strides;
  for (const Level& level : head.levels) {
    strides += fmt::format("{}{}", strides.empty() ? " of strides " : ", ", level.stride);
  }
  return fmt::format("its head is read as {}: {} classes at {} cells{}, pictures of {}x{}{}",
                     kNames[static_cast<std::size_t>(head.kind)], head.classes, head.cells, strides,
                     config.width, config.height,
                     config.form.corner ? ", at the upper left, blue first, pixels 0 to 255" : "");
}

}  // namespace

std::unique_ptr<Run> DetectionKit::open_onnx(const RunRequest& asked, onnx::Graph& graph) const {
  const onnx::Metadata said = onnx::metadata_of(graph.metadata);
  HeadRequest request;
  if (!asked.onnx.head.empty()) request.kind = head_named(asked.onnx.head);
  request.certain = request.kind || finds_boxes(said);
  if (!request.certain && !may_be(graph)) return nullptr;
  if (graph.outputs.empty()) throw usage_error("'{}' has no output", shown(asked.run));
  const onnx::PictureInput input = onnx::picture_input(graph);
  if (!find_size(asked, input, said, request)) return nullptr;
  if (input.channels != 0 && input.channels != 3) {
    if (!request.certain) return nullptr;
    throw usage_error("'{}' takes pictures of {} channels; a detector's have 3", shown(asked.run),
                      input.channels);
  }
  request.named = said.task == "detect" ? 0 : static_cast<std::int64_t>(said.classes.size());
  request.choice = onnx::choice_of(graph);
  onnx::Graph bare = graph;
  onnx::join_patterns(bare);
  const onnx::DetectorHead found = onnx::bare_head(bare);
  const Shape answers = answers_of(bare, request.height, request.width);
  std::optional<OnnxHead> head = head_of(bare, found, answers, request);
  if (!head) return nullptr;
  std::vector<std::string> notices = found.cuts;
  DetectorConfig config;
  config.height = request.height;
  config.width = request.width;
  config.exif = Exif::apply;
  config.form = form_of(asked, said, head->kind);
  config.classes = classes_of(asked, said, head->classes, notices);
  notices.push_back(sentence_of(*head, config));
  tell_licence(asked, said, notices);
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  const bool bgr = config.form.corner;
  auto net = std::make_unique<OnnxDetector>(std::make_shared<const onnx::Graph>(std::move(bare)),
                                            std::move(*head), std::move(config), bgr);
  expect_finite(*net, asked.run, {.allow_non_finite = asked.allow_non_finite});
  const std::filesystem::path path = asked.run;
  return std::make_unique<DetectionRun>(*this, asked, path.stem().string(), path, std::move(net));
}

}  // namespace tapescope::tasks
