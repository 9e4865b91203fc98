// Explanations against numbers worked out by hand or in another program, and against identities.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "autograd/explain/cam.h"
#include "autograd/explain/explainer.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/gradient_methods.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

Tensor f32(Shape shape, std::vector<float> values) {
  return Tensor::from<float>(shape, std::span<const float>(values));
}

Tensor counting_image() {  // 0..15 as a 4x4 picture of one channel
  std::vector<float> values(16);
  std::iota(values.begin(), values.end(), 0.0f);
  return f32({1, 4, 4, 1}, values);
}

Tensor classes(std::vector<std::int64_t> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return Tensor::from<std::int64_t>({n}, std::span<const std::int64_t>(values));
}

std::vector<float> numbers(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected,
                 float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
  }
}

// conv 1->2 (3x3 of ones, bias -50 and -75), relu, flatten, linear with rows
// [1,1,1,1,1,-1,-1,-1].
struct OnesNet {
  Var conv, relu, logits;
  OnesNet(Tape& tape, Var x) {
    const Var weight = tape.constant(f32({2, 3, 3, 1}, std::vector<float>(18, 1.0f)));
    const Var bias = tape.constant(f32({2}, {-50, -75}));
    conv = conv2d(x, weight, bias, {});
    relu = tapescope::relu(conv);
    const std::vector<float> row = {1, 1, 1, 1, 1, -1, -1, -1};
    std::vector<float> rows;
    for (int i = 0; i < 4; ++i) rows.insert(rows.end(), row.begin(), row.end());
    logits = linear(flatten(relu), tape.constant(f32({4, 8}, rows)));
  }
};

// Two convolutions and a linear layer with mixed signs and biases; y = [25, -22] on the counting
// image, [4, -2] on zeros.
Var two_conv_net(Tape& tape, Var x) {
  const Var w1 =
      tape.constant(f32({2, 3, 3, 1}, {0, 1, 0, 1, -2, 1, 0, 1, 0, 1, 0, 0, 0, -1, 0, 0, 0, 1}));
  const Var h1 = relu(conv2d(x, w1, tape.constant(f32({2}, {0, -1})), {}));
  // {O, KH, KW, I}: for output 0, [[1,-1],[0,1]] on channel 0 and [[-1,0],[1,0]] on channel 1.
  const Var w2 =
      tape.constant(f32({2, 2, 2, 2}, {1, -1, -1, 0, 0, 1, 1, 0, -1, 1, 0, 1, 0, -1, 0.5, 0}));
  const Var h2 = relu(conv2d(h1, w2, tape.constant(f32({2}, {1, -0.5})), {}));
  return linear(flatten(h2), tape.constant(f32({2, 2}, {1, -2, -1, 4})),
                tape.constant(f32({2}, {3, -1})));
}

TEST(Saliency, OfAKinkedFunctionUsesZeroSlopeAtTheKink) {
  Tape tape(Device::cpu(), Mode::evaluation);  // 1 - relu(1 - x), element by element
  const Var x = tape.input("x", f32({6}, {1, 2, 3, 0, -1, 7}));
  const Var y = affine(relu(affine(x, -1, 1)), -1, 1);
  EXPECT_EQ(numbers(saliency(tape, y, x).value()), (std::vector<float>{0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(numbers(input_x_gradient(tape, y, x).value()), (std::vector<float>{0, 0, 0, 0, -1, 0}));
}

TEST(Saliency, OfTheTwoConvNet) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", counting_image());
  const Var y = two_conv_net(tape, x);
  EXPECT_EQ(numbers(y.value()), (std::vector<float>{25, -22}));
  const std::vector<float> expected[2] = {{-3, 1, -1, 0, 6, -4, 7, -1, 0, 0, -4, -2, 0, 0, 3, 0},
                                          {5, -1, 1, 0, -10, 6, -10, 1, 0, 1, 4, 5, 0, 0, -4, 0}};
  const float products[2] = {18, -14};  // sum of x * g
  for (int c : {0, 1}) {
    const Var target = class_logit(y, tape.constant(classes({c})));
    EXPECT_EQ(numbers(saliency(tape, target, x).value()), expected[c]);
    const std::vector<float> product = numbers(input_x_gradient(tape, target, x).value());
    EXPECT_EQ(std::accumulate(product.begin(), product.end(), 0.0f), products[c]);
  }
}

// y = 25 and -22: what input times gradient leaves of it are the biases'.
TEST(FullGrad, OfTheTwoConvNet) {
  const float expected[2][2] = {{18, 7}, {-14, -8}};
  for (std::int64_t c : {0, 1}) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", counting_image());
    const Var target = class_logit(two_conv_net(tape, x), tape.constant(classes({c})));
    const FullGradient full = full_gradient(tape, target, x);
    EXPECT_NEAR(full.input_part.value().item(), expected[c][0], 1e-4);
    EXPECT_NEAR(full.bias_part.value().item(), expected[c][1], 1e-4);
    EXPECT_NEAR(row_sums(input_x_gradient(tape, target, x)).value().item(), expected[c][0], 1e-4);
  }
}

// Products 1 and -2 at the first position, 6 and 2 at the second: sizes 1 to 6 become 0 to 1 before
// channels add up. (Added up first, the map would be 0 and 1.)
TEST(FullGrad, ScalesBeforeItAddsUpChannelsAsItsAuthorsDo) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 1, 2, 2}, {1, 2, 3, 4}));
  const Var target = row_sums(mul(x, tape.constant(f32({1, 1, 2, 2}, {1, -1, 2, 0.5}))));
  expect_near(numbers(full_gradient(tape, target, x).map.value()), {0.2f, 1.2f}, 1e-6f);
}

TEST(GradCam, OfTheOnesNet) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", counting_image());
  const OnesNet net(tape, x);
  const Var target = class_logit(net.logits, tape.constant(classes({0})));
  EXPECT_EQ(target.value().item(), 54);
  EXPECT_EQ(numbers(grad_cam(tape, target, net.conv).value()),
            (std::vector<float>{11.25, 13.5, 20.25, 22.5}));
  EXPECT_EQ(numbers(grad_cam(tape, target, net.relu).value()),
            (std::vector<float>{0, 4, 28, 32.5}));
  EXPECT_EQ(last_feature_map(tape, target, x).path(), net.relu.path());
}

// A = [[1,2],[0,3]] and [[2,0],[1,1]] under a global mean and weights [2,-1].
TEST(Cam, IsTheWeightedSumOnAGlobalMeanNetAndGradCamTimesPositions) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var a = tape.input("a", f32({1, 2, 2, 2}, {1, 2, 2, 0, 0, 1, 3, 1}));
  const Var y = linear(global_avg_pool2d(a), tape.constant(f32({1, 2}, {2, -1})));
  const Var target = class_logit(y, tape.constant(classes({0})));
  EXPECT_FLOAT_EQ(static_cast<float>(target.value().item()), 2);
  expect_near(numbers(cam(tape, target, a).value()), {0, 4, -1, 5}, 1e-6f);
  expect_near(numbers(grad_cam(tape, target, a).value()), {0, 1, -0.25, 1.25}, 1e-6f);
}

TEST(Cam, RefusesATailThatIsNotLinearAndNamesTheNode) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", counting_image());
  const OnesNet net(tape, x);
  const Var target = class_logit(net.logits, tape.constant(classes({0})));
  const std::uint32_t before = tape.mark();
  try {
    cam(tape, target, net.conv);
    FAIL() << "a relu is not linear";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'relu'"), std::string::npos) << error.what();
  }
  EXPECT_EQ(tape.mark(), before);
}

TEST(Attribution, RefusesATrainingTape) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", f32({2}, {1, 2}));
  EXPECT_THROW(saliency(tape, square(x), x), Error);
}

Explainer two_conv_explainer() {
  return Explainer([](Tape& tape, Var image) { return two_conv_net(tape, image); }, {4, 4, 1});
}

// The exact path integral of the two-conv net from zero, by walking its five kinks.
TEST(IntegratedGradients, ConvergesToTheExactIntegral) {
  Explainer explainer = two_conv_explainer();
  const std::vector<float> exact[2] = {
      {0, 1, -2, 0, 11.555556f, -13.5f, 28.5f, -7, 0, 7.75f, -38, 2.75f, 0, 0, 29.944444f, 0},
      {0, -1, 2, 0, -15.555556f, 16, -33, 7, 0, -5.5f, 38, 5.5f, 0, 0, -33.444444f, 0}};
  const float change[2] = {21, -20};
  for (int c : {0, 1}) {
    ExplainOptions options;
    options.steps = 1800;
    options.budget = 1e9;
    const Attribution fine =
        explainer.explain("integrated-gradients", counting_image(), classes({c}), options);
    expect_near(numbers(fine.map), exact[c], 0.05f);
    const std::vector<float> map = numbers(fine.map);
    const float sum = std::accumulate(map.begin(), map.end(), 0.0f);
    EXPECT_NEAR(fine.residual.item(), change[c] - sum, 1e-3);
    options.steps = 51;
    const Attribution coarse =
        explainer.explain("integrated-gradients", counting_image(), classes({c}), options);
    double error = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      error = std::max(error, std::abs(numbers(coarse.map)[i] - double{exact[c][i]}));
    }
    EXPECT_GT(coarse.error_estimate.item(), error) << "a third of the steps is worse than all";
    EXPECT_LT(coarse.error_estimate.item(), 10) << "but of the same size";
  }
}

TEST(IntegratedGradients, IsTheSameForTwoSpellingsOfOneFunction) {
  // relu(relu(x1) - 1 - relu(x2)) and relu(relu(x1 - 1) - relu(x2)) at (3, 1): both (1.5, -0.5).
  const auto column = [](Var image, int c) {
    return reshape(slice(reshape(image, {2}), 1, c, c + 1), {1});
  };
  Explainer first(
      [&](Tape&, Var image) {
        return relu(sub(affine(relu(column(image, 0)), 1, -1), relu(column(image, 1))));
      },
      {1, 2, 1});
  Explainer second(
      [&](Tape&, Var image) {
        return relu(sub(relu(affine(column(image, 0), 1, -1)), relu(column(image, 1))));
      },
      {1, 2, 1});
  ExplainOptions options;
  options.steps = 600;
  options.budget = 1e9;
  const Tensor at = f32({1, 1, 2, 1}, {3, 1});
  for (Explainer* explainer : {&first, &second}) {
    expect_near(numbers(explainer->explain("integrated-gradients", at, classes({0}), options).map),
                {1.5f, -0.5f}, 5e-3f);
  }
}

TEST(IntegratedGradients, StaysWithinTheBudget) {
  Explainer explainer = two_conv_explainer();
  ExplainOptions options;
  options.steps = 999;
  options.budget = 60;
  EXPECT_LE(explainer.explain("integrated-gradients", counting_image(), classes({0}), options)
                .forward_passes,
            60);
}

TEST(Explainer, ABatchEqualsItsImagesOneByOneBitForBit) {
  Explainer explainer = two_conv_explainer();
  Tensor batch(Type{DType::f32, {5, 4, 4, 1}});
  PhiloxStream random(7);
  for (float& value : batch.values<float>()) value = static_cast<float>(random.normal() * 5);
  const std::vector<std::int64_t> wanted = {0, 1, 1, 0, 1};
  for (std::string_view method : Explainer::methods()) {
    if (method == "cam") continue;  // this net's tail is not linear
    const Attribution all = explainer.explain(method, batch, classes(wanted));
    for (std::int64_t n = 0; n < 5; ++n) {
      const Attribution one = explainer.explain(method, batch.rows(n, n + 1),
                                                classes({wanted[static_cast<std::size_t>(n)]}));
      EXPECT_EQ(numbers(one.map), numbers(all.map.rows(n, n + 1))) << method << " image " << n;
      EXPECT_EQ(one.value.item(), all.value.item(n));
    }
  }
}

TEST(Explainer, NamesTheFirstValueThatIsNotFinite) {
  Explainer explainer([](Tape&, Var image) { return log(affine(flatten(image), 1, -1)); },
                      {2, 2, 1});
  const Tensor fine = f32({1, 2, 2, 1}, {2, 3, 4, 5}), bad = f32({1, 2, 2, 1}, {0, 3, 4, 5});
  EXPECT_EQ(explainer.first_non_finite(fine, classes({0})), "");
  EXPECT_EQ(explainer.first_non_finite(bad, classes({0})), "log");
  for (const char* method : {"rise", "shapley", "lime"}) {
    const Attribution a = explainer.explain(method, bad, classes({0}));
    EXPECT_TRUE(std::isnan(a.value.item())) << method;
    EXPECT_TRUE(std::isnan(a.error_estimate.item())) << method << ": it is not 0";
  }
}

TEST(Explainer, SaysWhatTheBudgetCut) {
  Explainer explainer(two_conv_net, {4, 4, 1});
  ExplainOptions options;
  EXPECT_EQ(explainer.explain("score-cam", counting_image(), classes({0}), options).note, "");
  EXPECT_EQ(explainer.explain("shapley", counting_image(), classes({0}), options).note, "");
  options.budget = 12;
  EXPECT_EQ(explainer.explain("shapley", counting_image(), classes({0}), options).note,
            "2 of 8 cells a side, what --budget pays for");
  options.budget = 3;
  EXPECT_EQ(explainer.explain("score-cam", counting_image(), classes({0}), options).note,
            "1 of 2 channels, what --budget pays for");
}

TEST(Explainer, NamesTheKnownMethods) {
  Explainer explainer = two_conv_explainer();
  try {
    explainer.explain("magic", counting_image(), classes({0}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("grad-cam"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tapescope::explain
