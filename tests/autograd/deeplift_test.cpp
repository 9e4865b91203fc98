// DeepLIFT against numbers worked out by hand, and against what it promises: its sum.
#include "autograd/explain/deeplift.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "autograd/explain/target.h"
#include "tests/autograd/random_net.h"

namespace tapescope::explain {
namespace {

Tensor f32(Shape shape, std::vector<float> values) {
  return Tensor::from<float>(shape, std::span<const float>(values));
}

struct Outcome {
  std::vector<float> map;
  double change;  // y(x) - y(x')
};

Outcome explained(const std::function<Var(Tape&, Var)>& net, Tensor at, Tensor from) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", at), reference = tape.input("reference", from);
  const Var y = net(tape, x), y_reference = net(tape, reference);
  const Tensor map = deeplift(tape, y, x, y_reference, reference).value();
  const auto values = map.values<float>();
  return {{values.begin(), values.end()}, y.value().item() - y_reference.value().item()};
}

void expect(const Outcome& outcome, const std::vector<float>& map, float tolerance) {
  ASSERT_EQ(outcome.map.size(), map.size());
  for (std::size_t i = 0; i < map.size(); ++i) EXPECT_NEAR(outcome.map[i], map[i], tolerance) << i;
  EXPECT_NEAR(std::accumulate(outcome.map.begin(), outcome.map.end(), 0.0), outcome.change, 1e-4);
}

Var unit_of(Var v, std::int64_t position) { return unit(v, position); }

// 2 f(x1) + 2 f(x2 - 1.5)
Var two_units(Var x, Var (*f)(Var)) {
  return affine(add(f(unit_of(x, 0)), f(affine(unit_of(x, 1), 1, -1.5))), 2);
}

TEST(DeepLift, RescalesReluAndTanh) {
  const Tensor zero = f32({1, 2}, {0, 0});
  expect(explained([](Tape&, Var x) { return two_units(x, relu); }, f32({1, 2}, {1, 2}), zero),
         {2, 1}, 1e-6f);
  expect(explained([](Tape&, Var x) { return two_units(x, tapescope::tanh); },
                   f32({1, 2}, {-1, -2}), zero),
         {-1.5231883f, -.1860593f}, 1e-5f);
}

TEST(DeepLift, OfAMaxPoolGoesToBothWinners) {
  const auto pool = [](std::int64_t width) {
    return [width](Tape&, Var x) {
      return unit(max_pool2d(x, {.kernel_h = 1, .kernel_w = width, .stride_w = width}), 0);
    };
  };
  const Tensor ones = f32({1, 1, 4, 1}, {1, 1, 1, 1});
  expect(explained(pool(4), ones, f32({1, 1, 4, 1}, {1, 2, 3, 9})), {0, 0, 0, -8}, 1e-6f);
  expect(explained(pool(4), ones, f32({1, 1, 4, 1}, {4, 8, 6, 7})), {0, -7, 0, 0}, 1e-6f);
  expect(explained(pool(2), f32({1, 1, 2, 1}, {5, 1}), f32({1, 1, 2, 1}, {2, 4})), {1, 0}, 1e-6f);
}

TEST(DeepLift, SharesAProductOut) {
  const auto product = [](Tape&, Var x) { return mul(unit_of(x, 0), unit_of(x, 1)); };
  expect(explained(product, f32({1, 2}, {3, 5}), f32({1, 2}, {1, 2})), {7, 6}, 1e-6f);
}

TEST(DeepLift, OfTheTwoConvNetFromZero) {
  std::vector<float> counting(16);
  std::iota(counting.begin(), counting.end(), 0.0f);
  const std::vector<float> expected[2] = {
      {0, 1.166667f, -2, 0, 15.111111f, -17, 32, -7, 0, 6.5f, -36, -3.666667f, 0, 0, 31.888889f, 0},
      {0, -1.333333f, 2, 0, -22.666667f, 23, -40, 7, 0, -3, 34, 18.333333f, 0, 0, -37.333333f, 0}};
  for (const int c : {0, 1}) {
    const auto net = [c](Tape& tape, Var x) {
      const Var w1 = tape.constant(
          f32({2, 3, 3, 1}, {0, 1, 0, 1, -2, 1, 0, 1, 0, 1, 0, 0, 0, -1, 0, 0, 0, 1}));
      const Var h1 = relu(conv2d(x, w1, tape.constant(f32({2}, {0, -1})), {}));
      const Var w2 =
          tape.constant(f32({2, 2, 2, 2}, {1, -1, -1, 0, 0, 1, 1, 0, -1, 1, 0, 1, 0, -1, 0.5, 0}));
      const Var h2 = relu(conv2d(h1, w2, tape.constant(f32({2}, {1, -0.5})), {}));
      return unit(linear(flatten(h2), tape.constant(f32({2, 2}, {1, -2, -1, 4})),
                         tape.constant(f32({2}, {3, -1}))),
                  c);
    };
    expect(explained(net, f32({1, 4, 4, 1}, counting),
                     f32({1, 4, 4, 1}, std::vector<float>(16, 0.0f))),
           expected[c], 1e-4f);
  }
}

TEST(DeepLift, SumsToTheChangeOnAnyNet) {
  for (int family = 0; family < RandomNet::kFamilies; ++family) {
    SCOPED_TRACE(family);
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet inputs(tape, 3, DType::f64);
    const Var x = inputs.image(3);
    const Var reference = tape.input("reference", inputs.constant(x.shape(), 1).value());
    const auto score = [&](Var in) {
      return unit(
          RandomNet(tape, 60 + static_cast<std::uint64_t>(family), DType::f64).logits(in, family),
          1);
    };
    const Var y = score(x), y_reference = score(reference);
    const Tensor map = deeplift(tape, y, x, y_reference, reference).value();
    const std::int64_t units = x.shape().elements(1, 4);
    for (std::int64_t n = 0; n < 3; ++n) {
      double sum = 0;
      for (std::int64_t i = 0; i < units; ++i) sum += map.item(n * units + i);
      EXPECT_NEAR(sum, y.value().item(n) - y_reference.value().item(n), 1e-5) << n;
    }
  }
}

TEST(DeepLift, RefusesASoftmaxAndTwoModels) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 2}, {1, 2}));
  const Var reference = tape.input("reference", f32({1, 2}, {0, 0}));
  const std::uint32_t before = tape.mark();
  const Var a = unit(log_softmax(x), 0), b = unit(log_softmax(reference), 0);
  const std::uint32_t recorded = tape.mark();
  EXPECT_GT(recorded, before);
  EXPECT_THROW(deeplift(tape, a, x, b, reference), Error);
  EXPECT_THROW(deeplift(tape, unit(relu(x), 0), x, unit(sigmoid(reference), 0), reference), Error);
}

}  // namespace
}  // namespace tapescope::explain
