// The node cases of the format's own test suite (Debian's libonnx-testdata, or what
// tests/interop/node_cases.py wrote, in TAPESCOPE_ONNX_CASES): each is a graph of one op, or a few,
// with inputs and the outputs it must give. Tolerance as the suite's: 1e-3 relative, 1e-7 absolute.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "tools/onnx/net.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using onnx::Element;

fs::path cases_folder() {
  const char* own = std::getenv("TAPESCOPE_ONNX_CASES");
  return own != nullptr ? own : "/usr/share/libonnx-testdata/data/node";
}

// What today's exporters write for convolutional nets, and what older ones, Paddle's and
// TensorFlow's add to it.
const std::set<std::string> kFirstGoal = {"Conv",
                                          "Gemm",
                                          "Reshape",
                                          "ReduceMean",
                                          "Relu",
                                          "Add",
                                          "Mul",
                                          "MaxPool",
                                          "Concat",
                                          "Sigmoid",
                                          "AveragePool",
                                          "BatchNormalization",
                                          "HardSigmoid",
                                          "Clip",
                                          "HardSwish",
                                          "Transpose",
                                          "Gelu",
                                          "MatMul",
                                          "LayerNormalization",
                                          "Gather",
                                          "Sub",
                                          "Split",
                                          "ReduceL2",
                                          "Div",
                                          "Resize",
                                          "Slice",
                                          "Softmax",
                                          "Unsqueeze"};
const std::set<std::string> kSecondGoal = {"Abs",
                                           "And",
                                           "ArgMax",
                                           "ArgMin",
                                           "Cast",
                                           "Ceil",
                                           "Constant",
                                           "ConstantOfShape",
                                           "ConvTranspose",
                                           "DepthToSpace",
                                           "Dropout",
                                           "Elu",
                                           "Equal",
                                           "Erf",
                                           "Exp",
                                           "Expand",
                                           "Flatten",
                                           "Floor",
                                           "GlobalAveragePool",
                                           "GlobalMaxPool",
                                           "Greater",
                                           "GreaterOrEqual",
                                           "Identity",
                                           "InstanceNormalization",
                                           "LRN",
                                           "LeakyRelu",
                                           "Less",
                                           "LessOrEqual",
                                           "Log",
                                           "LogSoftmax",
                                           "Max",
                                           "Mean",
                                           "Min",
                                           "Mod",
                                           "Neg",
                                           "Not",
                                           "Or",
                                           "PRelu",
                                           "Pad",
                                           "Pow",
                                           "Range",
                                           "Reciprocal",
                                           "ReduceL1",
                                           "ReduceLogSum",
                                           "ReduceLogSumExp",
                                           "ReduceMax",
                                           "ReduceMin",
                                           "ReduceProd",
                                           "ReduceSum",
                                           "ReduceSumSquare",
                                           "Selu",
                                           "Shape",
                                           "Sign",
                                           "Size",
                                           "Softplus",
                                           "Softsign",
                                           "SpaceToDepth",
                                           "Sqrt",
                                           "Squeeze",
                                           "Sum",
                                           "Tanh",
                                           "Tile",
                                           "Upsample",
                                           "Where",
                                           "Xor"};

struct Case {
  onnx::Graph graph;
  std::vector<onnx::KnownRef> inputs, outputs;
};

Case read_case(const fs::path& folder) {
  Case c;
  c.graph = onnx::read_graph(folder / "model.onnx", {.oldest = 1});
  const fs::path data = folder / "test_data_set_0";
  for (std::size_t i = 0; fs::exists(data / fmt::format("input_{}.pb", i)); ++i) {
    c.inputs.push_back(onnx::read_tensor(data / fmt::format("input_{}.pb", i)));
  }
  for (std::size_t i = 0; fs::exists(data / fmt::format("output_{}.pb", i)); ++i) {
    c.outputs.push_back(onnx::read_tensor(data / fmt::format("output_{}.pb", i)));
  }
  return c;
}

// "" where the case is in scope.
std::string out_of_scope(const onnx::Graph& graph) {
  const std::set<Element> types = {Element::f32, Element::f64, Element::i64, Element::boolean};
  for (const auto& ports : {graph.inputs, graph.outputs}) {
    for (const onnx::Port& port : ports) {
      if (!types.contains(port.type)) return "another type";
      if (port.extents.size() > 5) return "more than five axes";
    }
  }
  for (const onnx::Node& node : graph.nodes) {
    const auto mode = node.attributes.find("training_mode");
    const bool training = mode != node.attributes.end() && mode->second.i != 0;
    if (training || (node.op == "Dropout" && node.inputs.size() == 3)) return "training";
    if (node.op == "MaxPool" && node.outputs.size() == 2) return "places of maxima";
    const std::set<std::string> spatial = {"Conv", "ConvTranspose", "MaxPool", "AveragePool"};
    if (spatial.contains(node.op) && graph.inputs[0].extents.size() > 4) {
      return "three spatial axes";
    }
  }
  return "";
}

// "" where the values agree.
std::string difference(const Tensor& ours, const onnx::Known& theirs) {
  if (ours.shape() != theirs.shape()) {
    return fmt::format("shape {} instead of {}", to_string(ours.shape()),
                       to_string(theirs.shape()));
  }
  for (std::int64_t i = 0; i < ours.elements(); ++i) {
    const double a = ours.item(i), b = theirs.numbers.item(i);
    const bool same = a == b || (std::isnan(a) && std::isnan(b));
    if (same || std::abs(a - b) <= 1e-7 + 1e-3 * std::abs(b)) continue;
    return fmt::format("element {} is {} instead of {}", i, a, b);
  }
  return "";
}

std::string outcome(const Case& c) {
  std::vector<Tensor> inputs;
  for (const onnx::KnownRef& input : c.inputs) inputs.push_back(input->numbers);
  const std::vector<onnx::Output> outputs = onnx::run(c.graph, inputs, Backend{Device::cpu(), {}});
  if (outputs.size() != c.outputs.size()) return "another number of outputs";
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string why = difference(outputs[i].tensor, *c.outputs[i]);
    if (!why.empty()) return fmt::format("{}: {}", outputs[i].name, why);
  }
  return "";
}

struct Row {
  int passed = 0, failed = 0, refused = 0, out = 0;
};

TEST(OnnxCases, TheNodeCasesOfTheFormat) {
  const fs::path cases = cases_folder();
  if (!fs::is_directory(cases)) GTEST_SKIP() << "libonnx-testdata is not installed";
  std::map<std::string, Row> table;
  std::map<std::string, int> reasons;
  const bool tell = std::getenv("TAPESCOPE_ONNX_TABLE") != nullptr;
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(cases)) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    std::string op = "(not read)", why;
    Row outcome_row;
    try {
      const Case c = read_case(folder);
      op = c.graph.nodes.size() == 1 ? c.graph.nodes[0].op : "(several ops)";
      why = out_of_scope(c.graph);
      if (!why.empty()) {
        ++table[op].out, ++reasons[why];
        continue;
      }
      why = outcome(c);
      ++(why.empty() ? table[op].passed : table[op].failed);
      if (!why.empty()) {
        ADD_FAILURE() << folder.filename().string() << ": " << why;
      }
      if (!why.empty()) fmt::print("FAILED {} {}\n", folder.filename().string(), why);
    } catch (const Error& error) {
      if (op == "(not read)") {
        const bool newer = std::string(error.what()).find("operator set") != std::string::npos;
        ++table[op].out, ++reasons[newer ? "a newer operator set" : "another type, or sequences"];
      } else {
        ++table[op].refused;
      }
      if (tell) fmt::print("refused {} {}\n", folder.filename().string(), error.what());
    }
  }
  Row first, second, other;
  for (const auto& [op, row] : table) {
    const bool in_first = kFirstGoal.contains(op), in_second = kSecondGoal.contains(op);
    Row& sum = in_first ? first : in_second ? second : other;
    sum.passed += row.passed, sum.failed += row.failed;
    sum.refused += row.refused, sum.out += row.out;
    if (tell) {
      fmt::print("| {} | {} | {} | {} | {} | {} |\n", op,
                 in_first    ? "1"
                 : in_second ? "2"
                             : "-",
                 row.passed, row.failed, row.refused, row.out);
    }
  }
  for (const auto& [goal, row] : {std::pair{"1", first}, {"2", second}, {"-", other}}) {
    fmt::print("goal {}: {} passed, {} failed, {} refused, {} out of scope\n", goal, row.passed,
               row.failed, row.refused, row.out);
  }
  for (const auto& [reason, count] : reasons) fmt::print("out of scope, {}: {}\n", reason, count);
  EXPECT_EQ(first.refused, 0);
  EXPECT_GE(second.passed, 0.95 * (second.passed + second.failed + second.refused));
}

}  // namespace
}  // namespace tapescope
