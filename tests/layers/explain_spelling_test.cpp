// Explanations follow the tape: one net written with modules, with a module used twice, or with
// plain functions is the same program and has one map.
#include <gtest/gtest.h>

#include <map>

#include "autograd/explain/explainer.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/philox.h"
#include "layers/layers.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

Tensor pictures(const Shape& shape) {
  Tensor values({DType::f32, shape});
  PhiloxStream random(9);
  for (float& v : values.values<float>()) v = static_cast<float>(random.normal());
  return values;
}

using Net = std::function<Var(Tape&, Var)>;

// One map for each method that the net admits.
std::map<std::string, Tensor> maps(const Net& net, const Tensor& input) {
  explain::ExplainOptions options;
  options.steps = 9;
  options.draws = 4;
  options.budget = 60;
  options.grid = 2;
  options.baselines = {pictures(input.shape().without_leading().with_leading(1))};
  explain::Explainer explainer(net, input.shape().without_leading());
  std::map<std::string, Tensor> all;
  for (const explain::Method& info : explain::all_methods()) {
    try {
      all[std::string(info.name)] =
          explainer.explain(info.name, input, Tensor::from<std::int64_t>({2}, {1, 0}), options).map;
    } catch (const Error& refused) {
      EXPECT_EQ(refused.blame(), Blame::usage) << refused.what();
    }
  }
  return all;
}

void expect_one_map(const Net& a, const Net& b, const Tensor& input, std::size_t refused) {
  const std::map<std::string, Tensor> first = maps(a, input), second = maps(b, input);
  EXPECT_EQ(first.size() + refused, explain::all_methods().size());
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [method, map] : first) {
    ASSERT_TRUE(second.contains(method)) << method;
    const Tensor& other = second.at(method);
    ASSERT_EQ(map.bytes(), other.bytes());
    EXPECT_EQ(std::memcmp(map.data(), other.data(), map.bytes()), 0) << method;
  }
}

TEST(ExplainSpelling, LeNetAsModulesAndAsFunctions) {
  const auto model =
      make_model({.name = "lenet", .classes = 4, .channels = 1, .image_size = 12, .width = 0.25});
  const std::vector<ParameterRef> p = model->parameters();
  ASSERT_EQ(p.size(), 8u);
  const auto as_modules = [&](Tape&, Var x) { return (*model)({{"image", x}}).at("logits"); };
  const auto as_functions = [&](Tape& tape, Var x) {
    const auto at = [&](std::size_t i) { return tape.parameter(p[i]); };
    const Conv2dOptions same{.pad_h = 2, .pad_w = 2};
    x = max_pool2d(relu(conv2d(x, at(0), at(1), same)), {});
    x = max_pool2d(relu(conv2d(x, at(2), at(3), same)), {});
    return linear(relu(linear(flatten(x), at(4), at(5))), at(6), at(7));
  };
  std::vector<Tensor> before;
  for (const ParameterRef& parameter : p) before.push_back(parameter->value.clone());
  // All but CAM, which needs a linear tail.
  expect_one_map(as_modules, as_functions, pictures({2, 12, 12, 1}), 1);
  for (std::size_t i = 0; i < p.size(); ++i) {
    EXPECT_EQ(std::memcmp(before[i].data(), p[i]->value.data(), before[i].bytes()), 0)
        << p[i]->name << " must be as it was";
  }
}

TEST(ExplainSpelling, OneModuleUsedTwiceAndTwoCopies) {
  Module root(3);
  const ConvOptions same{.padding = 1};
  Conv2d once(root, "a", 3, 3, 3, same), copy(root, "b", 3, 3, 3, same);
  for (std::size_t i = 0; i < once.parameters().size(); ++i) {
    copy.parameters()[i]->value.copy_from(once.parameters()[i]->value);
  }
  const auto head = [](Var x) { return global_avg_pool2d(x); };
  const Net reused = [&](Tape&, Var x) { return head(relu(once(relu(once(x))))); };
  const Net copies = [&](Tape&, Var x) { return head(relu(copy(relu(once(x))))); };
  const Net functional = [&](Tape& tape, Var x) {
    const Var w = tape.parameter(once.parameters()[0]), b = tape.parameter(once.parameters()[1]);
    const Conv2dOptions padded{.pad_h = 1, .pad_w = 1};
    return head(relu(conv2d(relu(conv2d(x, w, b, padded)), w, b, padded)));
  };
  expect_one_map(reused, copies, pictures({2, 5, 5, 3}), 0);
  expect_one_map(reused, functional, pictures({2, 5, 5, 3}), 0);
}

}  // namespace
}  // namespace tapescope
