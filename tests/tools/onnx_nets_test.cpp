// Small nets of both of torch's exporters give what ONNX Runtime gives
// (tests/fixtures/make_onnx.py), as arrays and as nets of any batch size, and elements stay where
// they are.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "autograd/explain/composite.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"
#include "autograd/program/program.h"
#include "tests/says.h"
#include "tests/tools/onnx_file.h"
#include "tests/tools/temporary_folder.h"
#include "tools/onnx/net.h"
#include "tools/onnx/patterns.h"
#include "tools/report/npy.h"

namespace tapescope {
namespace {

class OnnxNets : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  void SetUp() override {
    try {
      graph = onnx::read_graph(fixture("onnx/" + std::string(std::get<0>(GetParam())) + "-" +
                                       std::get<1>(GetParam()) + ".onnx"));
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    picture = read_npy(fixture("onnx/picture.npy"));
    theirs = read_npy(fixture("onnx/" + std::string(std::get<0>(GetParam())) + ".npy"));
  }
  bool shuffles() const { return std::get<0>(GetParam()) == std::string("shuffle"); }
  std::unique_ptr<onnx::OnnxClassifier> net() {
    ModelConfig config;
    config.name = "net", config.channels = 3, config.image_size = 16;
    return onnx::classifier_of(graph, config, left_out);
  }
  onnx::Graph graph;
  Tensor picture, theirs;
  std::vector<std::string> left_out;
};

double furthest(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double most = 0;
  for (std::int64_t i = 0; i < std::min(a.elements(), b.elements()); ++i) {
    most = std::max(most, std::abs(a.item(i) - b.item(i)));
  }
  return most;
}

// {N,C,H,W} as {N,H,W,C}, and `rows` of it, over and over.
Tensor channels_last(const Tensor& x, std::int64_t rows) {
  const Shape& s = x.shape();
  Tensor y(Type{DType::f32, {rows, s[2], s[3], s[1]}});
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t h = 0; h < s[2]; ++h) {
      for (std::int64_t w = 0; w < s[3]; ++w) {
        for (std::int64_t c = 0; c < s[1]; ++c) {
          y.values<float>()[static_cast<std::size_t>(i++)] =
              static_cast<float>(x.item((((n % s[0]) * s[1] + c) * s[2] + h) * s[3] + w));
        }
      }
    }
  }
  return y;
}

TEST_P(OnnxNets, AnswerAsOnnxRuntimeDoes) {
  const auto outputs = onnx::run(graph, {picture}, Backend{Device::cpu(), {}});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_LE(furthest(outputs[0].tensor, theirs), 1e-5);
}

TEST_P(OnnxNets, AreNetsOfAnyBatchSize) {
  const auto model = net();
  EXPECT_EQ(model->config().classes, 5);
  EXPECT_EQ(left_out.size(), shuffles() ? 1u : 0u);  // its softmax
  Tape tape(Device::cpu(), Mode::evaluation);
  Var logits = model->logits(tape.input("image", DType::f32, {3, 16, 16, 3}));
  if (shuffles()) logits = softmax(logits);
  Program program = tape.compile(std::vector{logits});
  for (const std::int64_t rows : {1, 2, 7}) {
    const Tensor answer = program.run({{"image", channels_last(picture, rows)}})[0];
    ASSERT_EQ(answer.shape(), (Shape{rows, 5}));
    for (std::int64_t n = 0; n < rows; ++n) {
      for (std::int64_t k = 0; k < 5; ++k) {
        EXPECT_NEAR(answer.item(n * 5 + k), theirs.item(n % 2 * 5 + k), 1e-5);
      }
    }
  }
}

// Memory is channels last all the way: only where rows of features are flattened in C,H,W order,
// channels shuffled, or places compared with one another, are elements moved.
TEST_P(OnnxNets, MoveNoElementsForLayouts) {
  const auto model = net();
  Tape tape(Device::cpu(), Mode::evaluation);
  model->logits(tape.input("image", DType::f32, {1, 16, 16, 3}));
  const auto transposes =
      std::count_if(tape.nodes().begin(), tape.nodes().end(),
                    [](const Node* node) { return node->op->name() == "transpose"; });
  const std::string name = std::get<0>(GetParam());
  EXPECT_EQ(transposes, name == "attend" ? 8 : name == "residual" || name == "shuffle" ? 1 : 0);
}

TEST_P(OnnxNets, ParametersAreCalledAsInTheFile) {
  const auto model = net();
  std::set<std::string> names;
  for (const ParameterRef& parameter : model->parameters()) names.insert(parameter->name);
  EXPECT_EQ(names.size(), model->parameters().size());
  EXPECT_TRUE(names.contains("head.weight") && names.contains("head.bias"));
}

// The relevance of a logit closes on an imported graph as on any other.
TEST_P(OnnxNets, TheLedgerCloses) {
  const auto model = net();
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", channels_last(picture, 2));
  const Var logits = model->logits(image);
  const Var target =
      explain::class_logit(logits, tape.constant(Tensor::from<std::int64_t>({2}, {2, 4})));
  explain::Ledger ledger;
  const Var wrt[] = {image};
  explain::Composite composite = lrp::epsilon_plus_flat();
  composite.on(explain::relevance_class(RelevanceClass::product), explain::rules::share());
  explain::relevance(tape, target, wrt, composite, {}, &ledger);
  for (std::int64_t n = 0; n < 2; ++n) {
    double left = ledger.seed.value().item(n) - ledger.reached.value().item(n);
    for (const explain::LedgerRow& row : ledger.rows) {
      left -= row.bias.value().item(n) + row.stabiliser.value().item(n) + row.empty.value().item(n);
    }
    EXPECT_NEAR(left, 0, 1e-5 * std::max(1.0, std::abs(ledger.seed.value().item(n))));
  }
}

// Whatever becomes of the parameters, another net of the graph begins as the file says.
TEST_P(OnnxNets, ParametersAreNoMemoryOfTheGraphs) {
  const auto first = net();
  for (const ParameterRef& parameter : first->parameters()) {
    for (float& value : parameter->value.values<float>()) value = NAN;
  }
  for (const auto& [name, known] : graph.initialisers) {
    std::int64_t changed = 0;
    for (std::int64_t i = 0; i < known->elements(); ++i) {
      changed += std::isnan(known->numbers.item(i)) ? 1 : 0;
    }
    EXPECT_EQ(changed, 0) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Exports, OnnxNets,
                         ::testing::Combine(::testing::Values("residual", "mobile", "next",
                                                              "shuffle", "attend"),
                                            ::testing::Values("old", "new")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::get<1>(info.param);
                         });

TEST(OnnxPatterns, FunctionsWrittenOutAreFunctions) {
  const auto joined = [](const std::string& file, const std::string& op) {
    onnx::Graph graph = onnx::read_graph(fixture("onnx/" + file + ".onnx"));
    const auto count = [&] {
      return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                           [&](const onnx::Node& node) { return node.op == op; });
    };
    const auto before = count();
    onnx::join_patterns(graph);
    return count() - before;
  };
  try {
    onnx::read_graph(fixture("onnx/next-old.onnx"));
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_EQ(joined("shuffle-old", "Swish"), 2);
  EXPECT_EQ(joined("shuffle-new", "Swish"), 2);
  EXPECT_EQ(joined("next-old", "Gelu"), 1);
  EXPECT_EQ(joined("next-old", "LayerNormalization"), 1);
  EXPECT_EQ(joined("mobile-old", "HardSwish"), 1);
  EXPECT_EQ(joined("mobile-old", "Gate"), 1);
  EXPECT_EQ(joined("mobile-new", "Gate"), 1);
  EXPECT_EQ(joined("residual-old", "Swish"), 0);
}

// Factors in either order, numbers within rounding, and nothing that only looks alike.
TEST(OnnxPatterns, WhatMatches) {
  using namespace onnx_file_making;
  const auto op_of = [](const std::vector<std::string>& nodes) -> std::string {
    onnx::Graph graph;
    try {
      graph = onnx::parse_graph(model({nodes,
                                       {reals("half", {}, {0.5f}), reals("one", {}, {1}),
                                        reals("two", {}, {2}), reals("root", {}, {1.41421354f})},
                                       {port("x", {2, 3})},
                                       {port("y", {})}}),
                                "model.onnx");
    } catch (const Error&) {
      return "";
    }
    onnx::join_patterns(graph);
    return graph.nodes.back().op;
  };
  if (op_of({node("Relu", {"x"}, {"y"})}).empty()) GTEST_SKIP() << "built without protobuf";
  const std::string s = node("Sigmoid", {"x"}, {"s"}), n = node("Neg", {"x"}, {"n"});
  EXPECT_EQ(op_of({s, node("Mul", {"x", "s"}, {"y"})}), "Swish");
  EXPECT_EQ(op_of({s, node("Mul", {"s", "x"}, {"y"})}), "Swish");
  EXPECT_EQ(op_of({s, n, node("Mul", {"s", "n"}, {"y"})}), "Gate");  // of another value
  EXPECT_EQ(op_of({n, node("Mul", {"x", "n"}, {"y"})}), "Mul");
  EXPECT_EQ(op_of({s, node("Div", {"x", "s"}, {"y"})}), "Div");
  // Only a HardSigmoid of x / 6 + 1 / 2 makes a hard swish.
  const auto hard = [&](float alpha, const std::string& beta) {
    const std::string rest = text(5, text(1, "alpha") + real(2, alpha) + whole(20, 1)) + beta;
    return op_of({node("HardSigmoid", {"x"}, {"s"}, rest), node("Mul", {"x", "s"}, {"y"})});
  };
  const auto beta = [](float value) {
    return text(5, text(1, "beta") + real(2, value) + whole(20, 1));
  };
  EXPECT_EQ(hard(1.0f / 6, ""), "HardSwish");
  EXPECT_EQ(hard(1.0f / 6, beta(0.5f)), "HardSwish");
  EXPECT_EQ(hard(1.0f / 6, beta(0.25f)), "Gate");
  EXPECT_EQ(hard(0.2f, ""), "Gate");
  const auto gelu = [&](const std::string& first, const std::string& added) {
    return op_of({node("Div", {"x", "root"}, {"d"}), node("Erf", {"d"}, {"e"}),
                  node("Add", {added, "e"}, {"a"}), node("Mul", {"a", "x"}, {"m"}),
                  node("Mul", {first, "m"}, {"y"})});
  };
  EXPECT_EQ(gelu("half", "one"), "Gelu");
  EXPECT_EQ(gelu("two", "one"), "Mul");
  EXPECT_EQ(gelu("half", "two"), "Mul");
}

}  // namespace
}  // namespace tapescope
