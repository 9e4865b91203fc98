#include "tools/onnx/head.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/philox.h"
#include "tools/files/text_file.h"
#include "tools/onnx/value.h"

namespace tapescope::onnx {
namespace {

// What leaves a score per class where it is.
bool passes(const Node& node) {
  static const std::set<std::string> ops = {"Softmax",     "LogSoftmax",        "Sigmoid",   "Relu",
                                            "AveragePool", "GlobalAveragePool", "ReduceMean"};
  return keeps_numbers(node) || ops.contains(node.op);
}

class Head {
 public:
  Head(Graph& graph, std::int64_t classes, std::uint64_t seed)
      : graph_(graph), givers_(graph), classes_(classes), random_(seed) {}

  // From the output back to the layer.
  void replace() {
    std::string value = graph_.outputs.at(0).name;
    for (;;) {
      const Node& node = producer(value);
      if (passes(node) && !node.inputs.empty()) {
        value = node.inputs[0];
      } else if (node.op == "Add" && node.inputs.size() == 2 &&
                 known(node.inputs[0]) != known(node.inputs[1])) {
        const std::size_t bias = known(node.inputs[1]) ? 1 : 0;
        redraw(node.inputs[bias], -1);
        value = node.inputs[1 - bias];
      } else {
        return replace_layer(node);
      }
    }
  }

 private:
  bool known(const std::string& name) const { return graph_.initialisers.contains(name); }

  [[noreturn]] void refuse(const std::string& why) const {
    throw usage_error(
        "'{}' cannot be given {} classes: {}; export it with a last layer of so many outputs",
        shown(graph_.path.string()), classes_, why);
  }

  const Node& producer(const std::string& value) const {
    if (const Node* node = givers_.of(value)) return *node;
    refuse(fmt::format("no node gives '{}'", shown(value)));
  }

  void replace_layer(const Node& node) {
    const bool layer = node.domain.empty() && node.inputs.size() >= 2 && known(node.inputs[1]) &&
                       (node.op == "Gemm" || node.op == "MatMul" || node.op == "Conv");
    if (!layer) {
      refuse(fmt::format("its scores come from node '{}' ({}), which is no layer with weights",
                         shown(node.name), shown(node.op)));
    }
    const auto whole = [&](const char* name) {
      const auto at = node.attributes.find(name);
      return at == node.attributes.end() ? 0 : at->second.i;
    };
    if (node.op == "Conv" && whole("group") > 1) refuse("its last layer is a grouped convolution");
    const bool rows = node.op == "Conv" || (node.op == "Gemm" && whole("transB") != 0);
    redraw(node.inputs[1], rows ? 0 : 1);
    if (node.op != "MatMul" && node.inputs.size() > 2 && !node.inputs[2].empty()) {
      redraw(node.inputs[2], -1);
    }
  }

  // Weights with the classes along `axis`; below 0: a bias, which has them where it has any.
  void redraw(const std::string& name, int axis) {
    const auto of_file = graph_.initialisers.find(name);
    if (of_file == graph_.initialisers.end()) {
      refuse(fmt::format("'{}' is computed", shown(name)));
    }
    const Known& old = *of_file->second;
    const auto uses = [&](const Node& node) {
      return std::count(node.inputs.begin(), node.inputs.end(), name);
    };
    std::ptrdiff_t used = 0;
    for (const Node& node : graph_.nodes) used += uses(node);
    if (used != 1) refuse(fmt::format("'{}' serves {} nodes", shown(name), used));
    Shape shape = old.shape();
    if (axis >= shape.rank() || !is_floating(old.type)) {
      refuse(fmt::format("'{}' is {} {}", shown(name), name_of(old.type), to_string(shape)));
    }
    for (int a = 0; axis < 0 && a < shape.rank(); ++a) {
      if (shape[a] > 1) shape[a] = classes_;
    }
    if (axis >= 0) shape[axis] = classes_;
    auto fresh =
        std::make_shared<Known>(Known{old.type, Tensor::full({old.numbers.dtype(), shape}, 0)});
    if (axis >= 0) {
      const double inputs = static_cast<double>(shape.elements()) / static_cast<double>(classes_);
      for (std::int64_t i = 0; i < shape.elements(); ++i) {
        put(*fresh, i, random_.normal() / std::sqrt(inputs));
      }
    }
    of_file->second = std::move(fresh);
  }

  Graph& graph_;
  Givers givers_;
  std::int64_t classes_;
  PhiloxStream random_;
};

}  // namespace

void give_classes(Graph& graph, std::int64_t classes, std::uint64_t seed) {
  if (graph.outputs.empty()) throw usage_error("'{}' has no output", shown(graph.path.string()));
  Head(graph, classes, seed).replace();
}

}  // namespace tapescope::onnx
