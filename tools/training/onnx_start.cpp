#include "tools/training/onnx_start.h"

#include <algorithm>
#include <limits>

#include "tools/data/image.h"
#include "tools/data/split_record.h"
#include "tools/data/transforms.h"
#include "tools/files/folders.h"
#include "tools/files/text_file.h"
#include "tools/onnx/head.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"
#include "tools/training/weights.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr int kUsualSize = 224;  // of a net that takes any

std::string preprocessing(const onnx::Metadata& said, std::int64_t size) {
  if (said.mean.empty() || said.std.empty()) return "";
  const int side = static_cast<int>(size);
  return Pipeline({Resize{.short_side = side}, CenterCrop{side, side}, ToTensor{},
                   Normalize{said.mean, said.std}})
      .to_json();
}

}  // namespace

fs::path graph_path(const fs::path& run) { return run / "model.onnx"; }

std::string graph_hash(const std::string& bytes) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return fmt::format("{:016x}",
                     content_hash({first, bytes.size()}, static_cast<std::int64_t>(bytes.size())));
}

OnnxStart read_onnx_start(const std::string& file, bool allow_outside, const fs::path& out) {
  std::error_code error;
  const bool own = fs::equivalent(file, graph_path(out), error);
  OnnxStart start;
  start.graph = onnx::read_graph(
      file, {.allow_outside = allow_outside,
             .keep = true,
             .room = own ? std::numeric_limits<std::int32_t>::max() : std::int64_t{0}});
  const onnx::Metadata said = onnx::metadata_of(start.graph.metadata);
  if (said.task == "detect" || said.task == "segment") {
    throw usage_error("'{}' is a net for the task '{}'; only classifiers are trained from a file",
                      shown(file), shown(said.task));
  }
  const onnx::PictureInput input = onnx::picture_input(start.graph);
  if (input.height != input.width) {
    throw usage_error("'{}' takes pictures of {}x{}; only nets of square ones are trained",
                      shown(file), input.height, input.width);
  }
  if (input.channels_last && input.channels == 0) {
    throw usage_error("'{}' does not say how many channels its pictures have", shown(file));
  }
  start.any_size = input.height == 0;
  start.image_size = !start.any_size        ? input.height
                     : said.image_size != 0 ? said.image_size
                                            : kUsualSize;
  start.channels = input.channels == 0 ? 3 : input.channels;
  start.preprocess = preprocessing(said, start.image_size);
  start.batch_norm = std::any_of(start.graph.nodes.begin(), start.graph.nodes.end(),
                                 [](const onnx::Node& n) { return n.op == "BatchNormalization"; });
  return start;
}

OnnxStart::Net OnnxStart::net(const ModelConfig& config, std::vector<std::string>& notices) {
  std::vector<std::string> left_out;
  auto model = onnx::classifier_of(graph, config, left_out, true);
  const std::int64_t answered = model->config().classes;
  if (answered != config.classes) {
    model = nullptr;
    onnx::give_classes(graph, config.classes, config.seed);
    left_out.clear();
    model = onnx::classifier_of(graph, config, left_out, true);
    if (model->config().classes != config.classes) {
      throw usage_error("'{}' answers {} numbers however its last layer is, not {}",
                        shown(graph.path.string()), model->config().classes, config.classes);
    }
    notices.push_back(
        fmt::format("'{}' answers {} classes, the data has {}: its last layer is drawn anew",
                    shown(graph.path.string()), answered, config.classes));
  }
  notices.insert(notices.end(), left_out.begin(), left_out.end());
  expect_finite(*model, graph.path, {});
  std::string file = model->graph_file();
  return {std::move(model), std::move(file)};
}

std::unique_ptr<Classifier> net_of_run(const fs::path& graph, const std::string& hash,
                                       const ModelConfig& config) {
  std::vector<std::uint8_t> bytes;
  try {
    bytes = read_bytes(graph);
  } catch (const Error& error) {
    throw usage_error("its graph lies beside it and cannot be had: {}", error.what());
  }
  const std::string text(bytes.begin(), bytes.end());
  if (graph_hash(text) != hash) {
    throw usage_error("'{}' is not the graph that it was trained with", shown(graph.string()));
  }
  std::vector<std::string> left_out;
  auto model =
      onnx::classifier_of(onnx::parse_graph(text, graph, {.room = config.room ? *config.room : 0}),
                          config, left_out, true);
  if (model->config().classes != config.classes) {
    throw usage_error("'{}' answers {} classes, not {}", shown(graph.string()),
                      model->config().classes, config.classes);
  }
  return model;
}

}  // namespace tapescope
