// Layer and group normalisation, gates, stochastic depth: values by hand, and how relevance passes.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/deeplift.h"
#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "tests/autograd/explain_cases.h"

namespace tapescope::explain {
namespace {

constexpr float kRoot2 = 1.41421356f;

// Mean 2.5, variance 1.25: with an epsilon of 0.75 the divisor is the root of 2.
TEST(LayerNorm, ByHand) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({2, 4}, {1, 2, 3, 4, 10, 20, 30, 40}));
  const Var y = layer_norm(x, tape.constant(f32({4}, {2, 1, 1, 1})),
                           tape.constant(f32({4}, {.5f, 0, 0, -1})), 0.75);
  const std::vector<float> all = numbers(y.value());
  expect_near({all.begin(), all.begin() + 4},
              {-3 / kRoot2 + .5f, -.5f / kRoot2, .5f / kRoot2, 1.5f / kRoot2 - 1}, 1e-6f);
  EXPECT_NEAR(all[5], -5 / std::sqrt(125.75), 1e-6) << "each row by its own";
}

// Of the first group 1, 3, 5, 7 (mean 4, variance 5, with 4 a divisor of 3), of the second the same
// times 10 but for the epsilon.
TEST(GroupNorm, ByHand) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 1, 2, 4}, {1, 3, 10, 30, 5, 7, 50, 70}));
  const Var ones = tape.constant(f32({4}, {1, 1, 1, 1})),
            shift = tape.constant(f32({4}, {0, 2, 0, 0}));
  const float far = 10 / std::sqrt(504.f);
  expect_near(numbers(group_norm(x, 2, ones, shift, 4).value()),
              {-1, -1.f / 3 + 2, -3 * far, -far, 1.f / 3, 1 + 2, far, 3 * far}, 1e-6f);
  EXPECT_THROW(group_norm(x, 3, ones, shift), Error);
}

// With the divisor as it is, y_0 = 2 (x_0 - mean) / d + 0.5 = z_0 + 0.5: of a relevance of 1 the
// shift takes 0.5 / y_0, and input j gets (x_j [j = 0] - x_j / 4) / (x_0 - mean) of what is left.
TEST(LayerNorm, RelevanceTakesTheDivisorAsItIs) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 4}, {1, 2, 3, 4}));
  const Var y = layer_norm(x, tape.constant(f32({4}, {2, 1, 1, 1})),
                           tape.constant(f32({4}, {.5f, 0, 0, 0})), 0.75);
  const Var seed = tape.constant(f32({1, 4}, {1, 0, 0, 0})), wrt[] = {x};
  Ledger ledger;
  const Var r = relevance(tape, y, wrt, lrp::epsilon(), seed, &ledger)[0];
  const float z = -3 / kRoot2, left = z / (z + .5f);
  expect_near(numbers(r.value()), {-.5f * left, left / 3, .5f * left, left / 1.5f}, 1e-5f);
  ASSERT_EQ(ledger.rows.size(), 1u) << "one row: the op's own";
  EXPECT_NEAR(ledger.rows[0].bias.value().item(), 1 - left, 1e-5);
  EXPECT_NEAR(ledger.reached.value().item(), left, 1e-5);
}

TEST(Gate, ItsSignalTakesAllRelevance) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 1, 2, 2}, {1, -2, 3, 4}));
  constexpr int kPositions[] = {1, 2};
  const Var by = sigmoid(reduce_mean(x, kPositions)), y = gate(x, by);
  const Var seed = tape.constant(f32({1, 1, 2, 2}, {1, 2, 3, 4})), wrt[] = {x};
  expect_near(numbers(relevance(tape, y, wrt, lrp::epsilon_plus(), seed)[0].value()), {1, 2, 3, 4},
              1e-6f);
  const Var product = mul(x, by);
  EXPECT_THROW(relevance(tape, product, wrt, lrp::epsilon(), seed), Error)
      << "which is the signal?";
  // Its derivative is a product's.
  const auto gradient = [&](Var of) { return numbers(tape.gradient(of, {x}, seed)[0].value()); };
  expect_near(gradient(y), gradient(product), 0);
}

TEST(GuidedBackprop, StopsWhereARelu6HasSaturated) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 4}, {-1, 3, 7, 5}));
  const Var seed = tape.constant(f32({1, 4}, {1, 1, 1, -1})), wrt[] = {x};
  expect_near(numbers(relevance(tape, clamp(x, 0, 6), wrt, guided_backprop(), seed)[0].value()),
              {0, 1, 0, 0}, 0);
  // Not every clamp is a rectifier.
  expect_near(numbers(relevance(tape, clamp(x, -2, 6), wrt, guided_backprop(), seed)[0].value()),
              {1, 1, 0, -1}, 0);
}

std::vector<float> dropped(std::int64_t rows, std::int64_t step, bool gradient = false) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {2, 2, 3, 2});
  const Var y = stochastic_depth(x, 0.25);
  Program program = tape.compile({gradient ? tape.gradient(sum(y), {x})[0] : y});
  return numbers(program.run({{"x", Tensor::full({DType::f32, {rows, 2, 3, 2}}, 1)},
                              {"step", Tensor::scalar_i64(step)}})[0]);
}

TEST(StochasticDepth, DropsWholeSamples) {
  constexpr std::int64_t kRows = 400, kElements = 12;
  const std::vector<float> y = dropped(kRows, 3);
  int kept = 0;
  for (std::size_t row = 0; row < kRows; ++row) {
    const float first = y[row * kElements];
    EXPECT_TRUE(first == 0 || first == 1 / 0.75f) << first;
    for (std::size_t i = 0; i < kElements; ++i) ASSERT_EQ(y[row * kElements + i], first);
    kept += first > 0;
  }
  EXPECT_NEAR(kept, 300, 4 * std::sqrt(400 * 0.25 * 0.75));
  EXPECT_EQ(dropped(kRows, 3, true), y) << "the gradient has the same mask";
  const std::vector<float> few = dropped(7, 3);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), y.begin()))
      << "a sample's does not depend on others";
  EXPECT_NE(dropped(kRows, 4), y);
}

TEST(StochasticDepth, IsNothingInEvaluation) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 4}, {1, 2, 3, 4}));
  EXPECT_EQ(stochastic_depth(x, 0.5), x);
}

}  // namespace
}  // namespace tapescope::explain
