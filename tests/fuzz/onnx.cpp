// ONNX files: read, and recorded as a classifier's net where they are of pictures.
#include "tests/fuzz/fuzz.h"
#include "tests/tools/onnx_file.h"
#include "tools/onnx/metadata.h"
#include "tools/onnx/net.h"

namespace tapescope::fuzz {
namespace {

void read(Bytes bytes) {
  const std::string text(bytes.begin(), bytes.end());
  onnx::Graph graph;
  if (!sentence_of([&] { graph = onnx::parse_graph(text, scratch() / "model.onnx"); }).empty()) {
    return;
  }
  onnx::metadata_of(graph.metadata);
  for (const auto& [name, known] : graph.initialisers) {
    for (std::int64_t i = 0; i < known->elements(); ++i) {
      planted_fault(known->numbers.item(i) > 100);
    }
  }
  sentence_of([&] {
    const onnx::PictureInput input = onnx::picture_input(graph);
    ModelConfig config;
    config.channels = input.channels == 0 ? 3 : input.channels;
    config.image_size = input.height == 0 ? 8 : input.height;
    if (config.channels > 64 || config.image_size > 64) return;
    std::vector<std::string> left_out;
    const auto net = onnx::classifier_of(graph, config, left_out);
    promise(net->config().classes >= 0, "classes are counted");
  });
}

Seeds seeds() {
  using namespace onnx_file_making;
  const std::vector<std::string> picture = {port("x", {-1, 1, 8, 8})}, answer = {port("y", {})};
  const std::string weights = reals("w", {2, 1, 3, 3}, std::vector<float>(18, 1));
  const std::string conv = node("Conv", {"x", "w"}, {"c"}, attribute_wholes("pads", {1, 1, 1, 1}));
  Seeds all;
  const auto add = [&](const Parts& parts) { all.push_back(bytes_of(model(parts))); };
  add({{conv, node("GlobalAveragePool", {"c"}, {"p"}), node("Flatten", {"p"}, {"y"})},
       {weights},
       picture,
       answer});
  add({{conv, node("Shape", {"c"}, {"s"}), node("Gather", {"s", "zero"}, {"n"}),
        node("Concat", {"n", "rest"}, {"t"}, attribute_whole("axis", 0)),
        node("Reshape", {"c", "t"}, {"r"}), node("Softmax", {"r"}, {"y"})},
       {weights, wholes("zero", {0}), wholes("rest", {-1})},
       picture,
       answer});
  add({{conv, node("Resize", {"c", "", "scales"}, {"z"}, attribute_text("mode", "linear")),
        node("MaxPool", {"z"}, {"m"}, attribute_wholes("kernel_shape", {16, 16})),
        node("Squeeze", {"m", "axes"}, {"y"})},
       {weights, reals("scales", {4}, {1, 1, 2, 2}), wholes("axes", {2, 3})},
       picture,
       answer});
  add({{conv, node("Slice", {"c", "from", "to", "axes", "steps"}, {"h"}),
        node("Transpose", {"h"}, {"t"}, attribute_wholes("perm", {0, 2, 3, 1})),
        node("ReduceMean", {"t"}, {"y"},
             attribute_wholes("axes", {1, 2}) + attribute_whole("keepdims", 0))},
       {weights, wholes("from", {0}), wholes("to", {8}), wholes("axes", {3}), wholes("steps", {2})},
       picture,
       answer});
  return all;
}

}  // namespace

const Target kOnnx{"onnx", read, seeds};

}  // namespace tapescope::fuzz
