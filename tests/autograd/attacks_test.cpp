// FGSM and PGD against positions worked out by hand.
#include "autograd/explain/attacks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"

namespace tapescope::explain {
namespace {

// f = 1 - relu(1 - x), elementwise; the gradient of -log f at one element.
Gradients minus_log(std::int64_t target) {
  return [target](const Tensor& points) {
    const std::int64_t size = points.elements() / points.shape()[0];
    Tensor result = Tensor::zeros(points.type());
    for (std::int64_t n = 0; n < points.shape()[0]; ++n) {
      const double x = points.item(n * size + target);
      if (x < 1)
        result.values<float>()[static_cast<std::size_t>(n * size + target)] =
            static_cast<float>(-1 / x);
    }
    return result;
  };
}

Tensor row(std::vector<float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return Tensor::from<float>({1, count}, values);
}

void expect_row(const Tensor& got, std::vector<float> want) {
  ASSERT_EQ(got.elements(), static_cast<std::int64_t>(want.size()));
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got.values<float>()[i], want[i], 1e-5) << i;
}

TEST(Fgsm, KnownSteps) {
  const Tensor five = row({2, -9, 9, 1, -3}), four = row({9, 10, -6, -1});
  expect_row(fgsm(minus_log(1), five, 0.1), {2, -8.9f, 9, 1, -3});
  expect_row(fgsm(minus_log(3), four, 0.2, true), {9, 10, -6, -1.2f});
  expect_row(fgsm(minus_log(3), four, 0.2, true, -5, 5), {5, 5, -5, -1.2f});
}

// -log of the first column of relu(relu(a) - 1 - relu(b)), for a batch of two rows of a and b.
TEST(Fgsm, OfABatchOfTwoInputs) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {2, 2, 2});  // a and b of two columns each
  const auto part = [&](std::int64_t k) {
    return reshape(slice(slice(x, 1, k, k + 1), 2, 0, 1), {});
  };
  const Var f = relu(sub(affine(relu(part(0)), 1, -1), relu(part(1))));
  Program program = tape.compile(tape.gradient(neg(log(f)), {x}));
  const Gradients gradients = [&](const Tensor& points) { return program.run({{"x", points}})[0]; };
  const Tensor rows = Tensor::from<float>({2, 2, 2}, {4, -1, 2, -5, 3, 10, -2, 1});
  expect_row(fgsm(gradients, rows, 0.25), {3.75f, -1, 2.25f, -5, 2.75f, 10, -2, 1});
}

TEST(Pgd, KnownSteps) {
  AttackOptions options;
  options.radius = 0.25;
  options.step = 0.1;
  options.steps = 2;
  expect_row(pgd(minus_log(4), row({2, -9, 9, 1, -3}), options), {2, -9, 9, 1, -2.8f});
  options.radius = 0.2;
  options.steps = 3;
  options.targeted = true;
  const Tensor four = row({9, 10, -6, -1});
  expect_row(pgd(minus_log(3), four, options), {9, 10, -6, -1.2f});
  options.norm = Norm::l2;
  expect_row(pgd(minus_log(2), four, options), {9, 10, -6.2f, -1});
}

TEST(Pgd, StaysInTheBallAndTheBounds) {
  // The gradient of a loss with a slope everywhere.
  const Gradients slope = [](const Tensor& p) {
    Tensor g(p.type());
    for (std::size_t i = 0; i < 12; ++i)
      g.values<float>()[i] = i % 2 ? -3.f : static_cast<float>(i);
    return g;
  };
  const Tensor x = Tensor::full({DType::f32, {2, 6}}, 0.9);
  for (const Norm norm : {Norm::linf, Norm::l2}) {
    AttackOptions options{.radius = 0.3, .step = 0.2, .steps = 7, .norm = norm};
    options.random_start = 5;
    options.low = 0;
    options.high = 1;
    const Tensor y = pgd(slope, x, options);
    for (std::int64_t n = 0; n < 2; ++n) {
      double largest = 0, squares = 0;
      for (std::int64_t i = n * 6; i < n * 6 + 6; ++i) {
        const double d = y.item(i) - x.item(i);
        EXPECT_LE(y.item(i), 1);
        largest = std::max(largest, std::fabs(d));
        squares += d * d;
      }
      EXPECT_LE(norm == Norm::linf ? largest : std::sqrt(squares), 0.3 + 1e-6);
      EXPECT_GT(squares, 0.01);
    }
  }
}

TEST(Pgd, RefusesWhatCannotWork) {
  const Gradients nan = [](const Tensor& p) { return Tensor::full(p.type(), std::nan("")); };
  EXPECT_THROW(pgd(nan, row({1, 2}), {}), Error);
  AttackOptions backwards;
  backwards.low = 1;
  backwards.high = 0;
  EXPECT_THROW(pgd(minus_log(0), row({1, 2}), backwards), Error);
}

}  // namespace
}  // namespace tapescope::explain
