// Recording, gradients, second derivatives, compiling and replaying, on numbers worked out by hand.
#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"

namespace tapescope {
namespace {

Tensor tensor(Shape shape, std::initializer_list<float> values) {
  return Tensor::from<float>(shape, values);
}

void expect_values(const Tensor& got, std::initializer_list<double> want, double tolerance = 1e-5) {
  ASSERT_EQ(got.elements(), static_cast<std::int64_t>(want.size()));
  std::int64_t i = 0;
  for (double value : want) {
    EXPECT_NEAR(got.item(i), value, tolerance * (1 + std::abs(value))) << "element " << i;
    ++i;
  }
}

Tensor ones(Shape shape) { return Tensor::full({DType::f32, shape}, 1); }

Tensor ascending(Shape shape, float first = 0) {
  Tensor result(Type{DType::f32, shape});
  std::iota(result.values<float>().begin(), result.values<float>().end(), first);
  return result;
}

// Three layers of dense weights: identity, all ones with biases -10, 1, 1, 1, all ones with -1, 1.
struct Dense {
  explicit Dense(Tape& tape, Var x) {
    const Var eye = tape.constant(tensor({3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1}));
    lin0 = linear(x, eye);
    lin1 = linear(lin0, tape.constant(ones({4, 3})), tape.constant(tensor({4}, {-10, 1, 1, 1})));
    hidden = relu(lin1);
    lin2 = linear(hidden, tape.constant(ones({2, 4})), tape.constant(tensor({2}, {-1, 1})));
  }
  Var lin0, lin1, hidden, lin2;
};

Var class_of(Var scores, std::int64_t target) {
  Tensor index({DType::i64, {scores.shape()[0]}});
  for (std::int64_t& value : index.values<std::int64_t>()) value = target;
  return gather(scores, scores.tape().constant(index));
}

TEST(Tape, DenseForwardAndGradients) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({2, 3}, {0, 100, 0, 2, 10, 3}));
  const Dense net(tape, x);
  expect_values(net.lin2.value(), {392, 394, 52, 54});
  const auto g = tape.gradient(class_of(net.lin2, 0), {x, net.lin0, net.lin1, net.hidden});
  expect_values(g[0].value(), {4, 4, 4, 4, 4, 4});
  expect_values(mul(g[1], net.lin0).value(), {0, 400, 0, 8, 40, 12});
  expect_values(mul(g[2], net.lin1).value(), {90, 101, 101, 101, 5, 16, 16, 16});
  expect_values(mul(g[3], net.hidden).value(), {90, 101, 101, 101, 5, 16, 16, 16});
}

TEST(Tape, ReluStopsAtZeroAndBelow) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({6}, {1, 2, 3, 0, -1, 7}));
  const Var y = affine(relu(affine(x, -1, 1)), -1, 1);  // 1 - relu(1 - x), a kink at 1
  expect_values(tape.gradient(y, {x})[0].value(), {0, 0, 0, 1, 1, 0});
}

// A convolution with two channels, relu, flattened in C, H, W order, and a dense layer.
TEST(Tape, ConvolutionThenFlatten) {
  for (const float first : {0.0f, 1.0f}) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", ascending({1, 4, 4, 1}, first));
    const Var conv =
        conv2d(x, tape.constant(ones({2, 3, 3, 1})), tape.constant(tensor({2}, {-50, -75})), {});
    const Var hidden = relu(conv);
    const Var weights = tape.constant(tensor({1, 8}, {1, 1, 1, 1, 1, -1, -1, -1}));
    const Var y = relu(linear(flatten(hidden), weights));
    const auto g = tape.gradient(sum(y), {x, hidden});
    if (first == 0) {
      expect_values(conv.value(), {-5, -30, 4, -21, 31, 6, 40, 15});
      expect_values(y.value(), {54});
      expect_values(g[0].value(), {0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0});
    } else {
      expect_values(g[0].value(), {1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1, 0, 0, 0, 0});
    }
    expect_values(g[1].value(), {1, 1, 1, -1, 1, -1, 1, -1});
  }
}

// Two convolutions and a dense layer.
struct TwoConvolutions {
  TwoConvolutions(Tape& tape, Var x) {
    const Var k1 = tape.constant(
        tensor({2, 3, 3, 1}, {0, 1, 0, 1, -2, 1, 0, 1, 0, 1, 0, 0, 0, -1, 0, 0, 0, 1}));
    h1 = relu(conv2d(x, k1, tape.constant(tensor({2}, {0, -1})), {}));
    // {O, KH, KW, I}: for each place the weights of the two input channels
    const Var k2 =
        tape.constant(tensor({2, 2, 2, 2}, {1, -1, -1, 0, 0, 1, 1, 0, -1, 1, 0, 1, 0, -1, 0.5, 0}));
    h2 = relu(conv2d(h1, k2, tape.constant(tensor({2}, {1, -0.5})), {}));
    y = linear(flatten(h2), tape.constant(tensor({2, 2}, {1, -2, -1, 4})),
               tape.constant(tensor({2}, {3, -1})));
  }
  Var h1, h2, y;
};

TEST(Tape, TwoConvolutionsEachSampleItsOwnGradient) {
  Tape tape(Device::cpu(), Mode::evaluation);
  Tensor twice({DType::f32, {2, 4, 4, 1}});
  for (std::int64_t i = 0; i < 32; ++i) {
    twice.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i % 16);
  }
  const Var x = tape.input("x", twice);
  const TwoConvolutions net(tape, x);
  expect_values(net.h1.value().rows(0, 1), {10, 4, 12, 5, 18, 8, 20, 9});
  expect_values(net.h2.value().rows(0, 1), {23, 0.5});
  expect_values(net.y.value().rows(0, 1), {25, -22});
  const Var classes = tape.constant(Tensor::from<std::int64_t>({2}, {0, 1}));
  const Var g = tape.gradient(gather(net.y, classes), {x})[0];
  expect_values(g.value(),
                {-3, 1,  -1, 0, 6,   -4, 7,   -1, 0, 0, -4, -2, 0, 0, 3,  0,    // class 0
                 5,  -1, 1,  0, -10, 6,  -10, 1,  0, 1, 4,  5,  0, 0, -4, 0});  // class 1
}

TEST(Tape, GradientsOfGradients) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({3}, {1, -2, 3}));
  const Var cubes = sum(mul(x, square(x)));
  const Var first = tape.gradient(cubes, {x})[0];
  expect_values(first.value(), {3, 12, 27});
  const Var second = tape.gradient(sum(first), {x})[0];
  expect_values(second.value(), {6, -12, 18});
  expect_values(tape.gradient(sum(second), {x})[0].value(), {6, 6, 6});
}

TEST(Tape, SecondDerivativeThroughAConvolution) {
  // y = conv(x, w) with one weight: f = sum y^2 = w^2 sum x^2, df/dx = 2 w^2 x, and
  // d(sum df/dx)/dw = 4 w sum x.
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({1, 1, 3, 1}, {1, -2, 4}));
  const Var w = tape.input("w", tensor({1, 1, 1, 1}, {0.5}));
  const Var first = tape.gradient(sum(square(conv2d(x, w, {}, {}))), {x})[0];
  expect_values(first.value(), {0.5, -1, 2});
  expect_values(tape.gradient(sum(first), {w})[0].value(), {6});
}

TEST(Tape, SoftmaxAndItsSecondDerivative) {
  // Two equal logits: p = 1/2, d(log p0)/dx = (1/2, -1/2), and the Hessian of log p0 is
  // -(diag p - p p') = ((-1/4, 1/4), (1/4, -1/4)).
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({1, 2}, {3, 3}));
  const Var first = tape.gradient(class_of(log_softmax(x), 0), {x})[0];
  expect_values(first.value(), {0.5, -0.5});
  expect_values(tape.gradient(class_of(first, 0), {x})[0].value(), {-0.25, 0.25});
  const Var p = tape.gradient(class_of(softmax(x), 0), {x})[0];
  expect_values(p.value(), {0.25, -0.25});
}

TEST(Tape, BatchNormalisation) {
  // Two rows, 1 and 3: mean 2, variance 1. y is +-1 whatever a shift or scale of x.
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", tensor({2, 1}, {1, 3}));
  const Var scale = tape.input("scale", tensor({1}, {2}));
  const Var shift = tape.input("shift", tensor({1}, {5}));
  const BatchNormResult y = batch_norm_training(x, scale, shift, 0);
  expect_values(y.y.value(), {3, 7});
  expect_values(y.mean.value(), {2});
  expect_values(y.variance.value(), {1});
  const auto g = tape.gradient(sum(square(y.y)), {x, scale, shift});
  // d/dscale sum (s xhat + t)^2 = 2 s sum xhat^2 + 2 t sum xhat = 8; d/dshift = 4 t = 20
  expect_values(g[0].value(), {0, 0}, 1e-4);
  expect_values(g[1].value(), {8});
  expect_values(g[2].value(), {20});
  // Through the statistics: d mean/dx = 1/2, d variance/dx = (x - mean)
  const auto s = tape.gradient(add(sum(y.mean), sum(affine(y.variance, 10))), {x});
  expect_values(s[0].value(), {-9.5, 10.5});
}

TEST(Tape, ARowMixingOpHasNoGradientOfEachSample) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", tensor({2, 2}, {1, 3, 2, 5}));
  const Var scale = tape.constant(tensor({2}, {1, 1}));
  const Var y = batch_norm_training(x, scale, scale).y;
  const Var picked = class_of(y, 0);
  const std::uint32_t before = tape.mark();
  EXPECT_THROW(tape.gradient(picked, {x}), Error);
  EXPECT_EQ(tape.mark(), before);
  EXPECT_NO_THROW(tape.gradient(sum(picked), {x}));
}

TEST(Tape, DropoutMasksTheGradientAlike) {
  Tape tape(Device::cpu(), Mode::training, {.seed = 7, .kernels = {}});
  const Var x = tape.input("x", ones({4, 50}));
  const Var y = dropout(x, 0.5);
  const Var g = tape.gradient(sum(y), {x})[0];
  int zeros = 0;
  for (std::int64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(y.value().item(i), g.value().item(i));
    zeros += y.value().item(i) == 0 ? 1 : 0;
  }
  EXPECT_GT(zeros, 60);
  EXPECT_LT(zeros, 140);

  Tape evaluation(Device::cpu(), Mode::evaluation);
  const Var same = evaluation.input("x", ones({4, 50}));
  EXPECT_EQ(dropout(same, 0.5), same);
}

// Recorded with `recorded` rows, run with 3: logistic regression's mean loss, and one step of it.
class CompiledAt : public testing::TestWithParam<std::int64_t> {};

TEST_P(CompiledAt, TrainsAtAnyBatchSize) {
  const auto weight =
      std::make_shared<Parameter>("weight", tensor({2, 2}, {0, 0, 0, 0}), Parameter::Kind::weight);
  const auto offset =
      std::make_shared<Parameter>("offset", tensor({1, 2}, {0, 0}), Parameter::Kind::bias);
  const auto velocity =
      std::make_shared<Parameter>("velocity", tensor({2, 2}, {0, 0, 0, 0}), Parameter::Kind::state);
  Tape tape(Device::cpu(), Mode::training);
  const std::int64_t N = GetParam();
  const Var x = tape.input("x", DType::f32, {N, 2});
  const Var label = tape.input("label", DType::i64, {N});
  // The offset is {1, 2}: with one row recorded, it looks like a row of the batch.
  const Var scores = add(linear(x, tape.parameter(weight)), tape.parameter(offset));
  const Var loss = neg(mean(gather(log_softmax(scores), label)));
  const ParameterRef parameters[] = {weight, offset};
  const auto g = tape.gradient(loss, parameters);
  const SgdResult step =
      sgd_update(tape.parameter(weight), g[0], tape.parameter(velocity), tape.scalar(0.5), {});
  const Effects effects = {tape.assign(weight, step.parameter),
                           tape.assign(velocity, step.velocity)};
  Program program = tape.compile({loss, g[0], g[1]}, effects);
  const auto run = [&] {
    return program.run({{"x", tensor({3, 2}, {1, 0, 0, 1, 1, 1})},
                        {"label", Tensor::from<std::int64_t>({3}, {0, 0, 1})}});
  };
  const std::vector<Tensor> out = run();
  // p = 1/2 everywhere: the residuals are (-1/2, 1/2), (-1/2, 1/2), (1/2, -1/2), each over 3.
  expect_values(out[0], {std::log(2.0)});
  expect_values(out[1], {0, 0, 0, 0});
  expect_values(out[2], {-1.0 / 6, 1.0 / 6});

  Program other = tape.compile({loss, g[0]}, effects);
  const std::vector<Tensor> two = other.run(
      {{"x", tensor({2, 2}, {1, 0, 0, 1})}, {"label", Tensor::from<std::int64_t>({2}, {0, 0})}});
  expect_values(two[1], {-0.25, -0.25, 0.25, 0.25});
  expect_values(weight->value, {0.125, 0.125, -0.125, -0.125});
  expect_values(velocity->value, {-0.25, -0.25, 0.25, 0.25});
}
INSTANTIATE_TEST_SUITE_P(Rows, CompiledAt, testing::Values(1, 2, 3, 64));

TEST(Tape, ReplayAnswersWhatIf) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({1, 3}, {20, 50, 30}));
  const Dense net(tape, x);
  const Edit without_first[] = {{x, tensor({1, 3}, {0, 50, 30})}};
  const Var outputs[] = {net.lin2};
  expect_values(tape.replay(without_first, outputs)[0], {312, 314});
  const Edit hidden[] = {{net.hidden, tensor({1, 4}, {1, 2, 3, 4})}};
  expect_values(tape.replay(hidden, outputs)[0], {9, 11});
  // More rows than were recorded.
  const Edit many[] = {{x, tensor({2, 3}, {0, 0, 0, 20, 50, 30})}};
  expect_values(tape.replay(many, outputs)[0], {2, 4, 392, 394});
}

TEST(Tape, ABatchIsJoinedAndTakenApartAtAnySize) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var a = tape.input("a", DType::f32, {1, 2});
  const Var b = tape.input("b", DType::f32, {1, 2});
  const Var parts[] = {a, b};
  const Var both = square(concat(parts, 0));
  const auto g = tape.gradient(sum(both), {a, b});
  Program program = tape.compile({concat_part(both, parts, 0, 1), g[0], g[1]});
  const auto out =
      program.run({{"a", tensor({2, 2}, {1, 2, 3, 4})}, {"b", tensor({2, 2}, {5, 6, 7, 8})}});
  expect_values(out[0], {25, 36, 49, 64});
  expect_values(out[1], {2, 4, 6, 8});
  expect_values(out[2], {10, 12, 14, 16});
}

TEST(Tape, MistakesAreNamed) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", ones({2, 4, 4, 3}));
  const auto message = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::uint32_t before = tape.mark();
  EXPECT_NE(message([&] { add(x, tape.constant(ones({2}))); }).find("[add]"), std::string::npos);
  EXPECT_NE(message([&] { max_pool2d(x, {5, 5, 1, 1}); }).find("does not fit"), std::string::npos);
  EXPECT_NE(message([&] { slice(x, 3, 2, 5); }).find("[slice]"), std::string::npos);
  EXPECT_NE(message([&] { reshape(x, {5}); }).find("[reshape]"), std::string::npos);
  const int repeated[] = {0, 1, 1, 3};
  EXPECT_NE(message([&] { transpose(x, repeated); }).find("[transpose]"), std::string::npos);
  EXPECT_LE(tape.mark(), before + 1);  // the constant
}

}  // namespace
}  // namespace tapescope
