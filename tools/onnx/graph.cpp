#include "tools/onnx/graph.h"

#include <unordered_set>

#include "tools/files/folders.h"
#include "tools/files/text_file.h"

namespace tapescope::onnx {

bool names_onnx(const std::string& model) {
  return has_ending(model, ".onnx") && !is_folder(model);
}

std::string name_of(Element element) {
  switch (element) {
    case Element::f32:
      return "float32";
    case Element::u8:
      return "uint8";
    case Element::i8:
      return "int8";
    case Element::u16:
      return "uint16";
    case Element::i16:
      return "int16";
    case Element::i32:
      return "int32";
    case Element::i64:
      return "int64";
    case Element::text:
      return "string";
    case Element::boolean:
      return "bool";
    case Element::f16:
      return "float16";
    case Element::f64:
      return "float64";
    case Element::u32:
      return "uint32";
    case Element::u64:
      return "uint64";
    case Element::bf16:
      return "bfloat16";
  }
  return fmt::format("type number {}", static_cast<int>(element));
}

DType held_in(Element element, const std::string& what) {
  switch (element) {
    case Element::f32:
    case Element::f16:
    case Element::bf16:
      return DType::f32;
    case Element::f64:
      return DType::f64;
    case Element::i64:
    case Element::i32:
    case Element::u8:
    case Element::boolean:
      return DType::i64;
    case Element::i8:
    case Element::u16:
      throw usage_error(
          "{} is of {}, as in a quantised model; export the model in float32, before it is "
          "quantised",
          what, name_of(element));
    default:
      throw usage_error(
          "{} is of {}; read are float32, float64, float16, bfloat16, int64, int32, uint8 and bool",
          what, name_of(element));
  }
}

namespace {

// Who writes each value: the node's index, or -1 for inputs and initialisers.
using Writers = std::unordered_map<std::string_view, std::int64_t>;

Writers writers_of(const Graph& graph) {
  Writers writers;
  for (const auto& [name, known] : graph.initialisers) writers.emplace(name, -1);
  for (const Port& input : graph.inputs) {
    if (!writers.emplace(input.name, -1).second) {
      throw usage_error("two inputs are called '{}'", shown(input.name));
    }
  }
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const std::string& output : graph.nodes[n].outputs) {
      if (output.empty() || writers.emplace(output, static_cast<std::int64_t>(n)).second) continue;
      throw usage_error("node '{}' gives '{}', which something else gives already",
                        shown(graph.nodes[n].name), shown(output));
    }
  }
  return writers;
}

}  // namespace

Givers::Givers(const Graph& graph) : graph_(graph) {
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const std::string& output : graph.nodes[n].outputs) {
      if (!output.empty()) of_[output] = n;
    }
  }
}

const Node* Givers::of(const std::string& value) const {
  const auto at = of_.find(value);
  return at == of_.end() ? nullptr : &graph_.nodes[at->second];
}

bool keeps_numbers(const Node& node) {
  static const std::unordered_set<std::string_view> ops = {"Identity", "Reshape", "Flatten",
                                                           "Squeeze",  "Cast",    "Dropout"};
  return node.domain.empty() && !node.inputs.empty() && ops.contains(node.op);
}

void check_order(const Graph& graph) {
  const Writers writers = writers_of(graph);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    for (const std::string& input : node.inputs) {
      if (input.empty()) continue;
      const auto writer = writers.find(input);
      if (writer == writers.end()) {
        throw usage_error("node '{}' ({}) reads '{}', which no node gives and no initialiser holds",
                          shown(node.name), shown(node.op), shown(input));
      }
      if (writer->second < static_cast<std::int64_t>(n)) continue;
      const Node& later = graph.nodes[static_cast<std::size_t>(writer->second)];
      throw usage_error(
          "node '{}' ({}) reads '{}', which node '{}' gives only after it: the nodes are out of "
          "order, or in a circle",
          shown(node.name), shown(node.op), shown(input), shown(later.name));
    }
  }
  for (const Port& output : graph.outputs) {
    if (!writers.contains(output.name)) {
      throw usage_error("nothing gives the output '{}'", shown(output.name));
    }
  }
}

std::vector<bool> needed_nodes(const Graph& graph) {
  std::unordered_set<std::string_view> wanted;
  for (const Port& output : graph.outputs) wanted.insert(output.name);
  std::vector<bool> needed(graph.nodes.size(), false);
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    for (const std::string& output : node.outputs) {
      if (!output.empty() && wanted.contains(output)) needed[n] = true;
    }
    if (!needed[n]) continue;
    for (const std::string& input : node.inputs) {
      if (!input.empty()) wanted.insert(input);
    }
  }
  return needed;
}

}  // namespace tapescope::onnx
