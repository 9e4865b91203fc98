// Explanations follow the tape: one net written with modules, with a module used twice, or with
// plain functions is the same program and has one map.
#include <gtest/gtest.h>

#include "autograd/explain/deeplift.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/target.h"
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

std::vector<Tensor> maps(const Net& net, const Tensor& input) {
  std::vector<Tensor> all;
  for (const explain::NamedComposite& named : explain::named_composites()) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", input);
    const Var target = explain::unit(net(tape, x), 1);
    all.push_back(tape.relevance(target, {x}, named.make())[0].value());
  }
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", input),
            reference = tape.input("reference", pictures(input.shape()));
  all.push_back(explain::deeplift(tape, explain::unit(net(tape, x), 1), x,
                                  explain::unit(net(tape, reference), 1), reference)
                    .value());
  return all;
}

void expect_one_map(const Net& a, const Net& b, const Tensor& input) {
  const std::vector<Tensor> first = maps(a, input), second = maps(b, input);
  for (std::size_t k = 0; k < first.size(); ++k) {
    ASSERT_EQ(first[k].bytes(), second[k].bytes());
    EXPECT_EQ(std::memcmp(first[k].data(), second[k].data(), first[k].bytes()), 0) << k;
  }
}

TEST(ExplainSpelling, LeNetAsModulesAndAsFunctions) {
  const auto model =
      make_model({.name = "lenet", .classes = 4, .channels = 1, .image_size = 12, .width = 0.25});
  const std::vector<ParameterRef> p = model->parameters();
  ASSERT_EQ(p.size(), 8u);
  const auto as_modules = [&](Tape& tape, Var x) {
    return (*model)(tape, {{"image", x}}).at("logits");
  };
  const auto as_functions = [&](Tape& tape, Var x) {
    const auto at = [&](std::size_t i) { return tape.parameter(p[i]); };
    const Conv2dOptions same{.pad_h = 2, .pad_w = 2};
    x = max_pool2d(relu(conv2d(x, at(0), at(1), same)), {});
    x = max_pool2d(relu(conv2d(x, at(2), at(3), same)), {});
    return linear(relu(linear(flatten(x), at(4), at(5))), at(6), at(7));
  };
  expect_one_map(as_modules, as_functions, pictures({2, 12, 12, 1}));
}

TEST(ExplainSpelling, OneModuleUsedTwiceAndTwoCopies) {
  const Build build{3, ""};
  const ConvOptions same{.padding = 1};
  Conv2d once(build.child("a"), 3, 3, 3, same), copy(build.child("b"), 3, 3, 3, same);
  for (std::size_t i = 0; i < once.parameters().size(); ++i) {
    copy.parameters()[i]->value.copy_from(once.parameters()[i]->value);
  }
  const auto head = [](Var x) { return global_avg_pool2d(x); };
  expect_one_map([&](Tape&, Var x) { return head(relu(once(relu(once(x))))); },
                 [&](Tape&, Var x) { return head(relu(copy(relu(once(x))))); },
                 pictures({2, 5, 5, 3}));
}

}  // namespace
}  // namespace tapescope
