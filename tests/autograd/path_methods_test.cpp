// Methods that average gradients, the CAM family and FullGrad against numbers worked out by hand.
#include <algorithm>
#include <cmath>

#include "autograd/explain/cam.h"
#include "autograd/explain/explainer.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/path_methods.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "engine/allocator.h"
#include "engine/philox.h"
#include "explain_cases.h"
#include "tests/autograd/random_net.h"

namespace tapescope::explain {
namespace {

Tensor classes(std::vector<std::int64_t> values) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())},
                                    std::span<const std::int64_t>(values));
}

TEST(Quadrature, NodesAndWeights) {
  const auto middle = quadrature(PathRule::midpoint, 3);
  ASSERT_EQ(middle.size(), 3u);
  EXPECT_DOUBLE_EQ(middle[0].position, 1.0 / 6);
  EXPECT_DOUBLE_EQ(middle[2].position, 5.0 / 6);
  EXPECT_DOUBLE_EQ(middle[1].coarse_weight, 1) << "the middle of the middle third";
  const auto ends = quadrature(PathRule::trapezoid, 3);
  ASSERT_EQ(ends.size(), 3u);
  EXPECT_DOUBLE_EQ(ends[0].weight, 0.25);
  EXPECT_DOUBLE_EQ(ends[1].weight, 0.5);
  EXPECT_DOUBLE_EQ(ends[2].coarse_weight, 0.5);
  // The three-point Gauss-Legendre rule on [0, 1]: 1/2 and 1/2 +- sqrt(3/5)/2; 5/18, 8/18, 5/18.
  const auto gauss = quadrature(PathRule::gauss_legendre, 3);
  EXPECT_NEAR(gauss[0].position, 0.5 - std::sqrt(0.6) / 2, 1e-14);
  EXPECT_NEAR(gauss[1].weight, 8.0 / 18, 1e-14);
  EXPECT_NEAR(gauss[2].weight, 5.0 / 18, 1e-14);
  for (PathRule rule : {PathRule::midpoint, PathRule::trapezoid, PathRule::gauss_legendre}) {
    double fine = 0, coarse = 0;
    for (const PathPoint& point : quadrature(rule, 51)) {
      fine += point.weight;
      coarse += point.coarse_weight;
    }
    EXPECT_NEAR(fine, 1, 1e-12);
    EXPECT_NEAR(coarse, 1, 1e-12);
  }
}

// F = a x^2 / 2, noise +s and -s.
TEST(SmoothGrad, OfAParabolaUnderAntitheticNoise) {
  const float a = 3, x = 2, s = 0.5f;
  const Gradients slope = [&](const Tensor& points) {
    Tensor result = points.clone();
    for (float& v : result.values<float>()) v *= a;
    return result;
  };
  const Offset offset = [&](int draw) { return f32({1, 1}, {draw % 2 == 0 ? s : -s}); };
  const auto mean = [&](NoiseMean what) {
    return noise_mean(slope, f32({1, 1}, {x}), offset, what, 4).map.item();
  };
  EXPECT_NEAR(mean(NoiseMean::gradient), a * x, 1e-6);
  EXPECT_NEAR(mean(NoiseMean::squared), a * a * (x * x + s * s), 1e-5);
  EXPECT_NEAR(mean(NoiseMean::variance), a * a * s * s, 1e-6);
}

// 5 x0 + x1^2 + sin x2 from (.5, 1, 1) to (1, 2, 3).
TEST(IntegratedGradients, OfASmoothFunctionByEveryRule) {
  const Gradients slope = [](const Tensor& points) {
    Tensor result = points.clone();
    auto v = result.values<float>();
    for (std::size_t i = 0; i < v.size(); i += 3) {
      v[i] = 5;
      v[i + 1] *= 2;
      v[i + 2] = std::cos(v[i + 2]);
    }
    return result;
  };
  for (PathRule rule : {PathRule::midpoint, PathRule::trapezoid, PathRule::gauss_legendre}) {
    const Estimate estimate = integrated_gradients(slope, f32({1, 3}, {1, 2, 3}),
                                                   f32({1, 3}, {0.5f, 1, 1}), quadrature(rule, 99));
    expect_near(numbers(estimate.map), {2.5f, 3, -0.7003509768f}, 2e-4f);
    EXPECT_LT(estimate.error.item(), 2e-3);
  }
}

// lin0 = I, lin1 = ones(4x3) + [-10,1,1,1], relu, lin2 = ones(2x4) + [-1,1], as an image {1,1,3,1}.
Var dense_net(Tape& tape, Var image) {
  const auto row = [&](std::vector<float> v) {
    return tape.constant(f32({static_cast<std::int64_t>(v.size())}, v));
  };
  Var x;
  {
    const Tape::Scope in(tape, "lin0");
    x = linear(flatten(image), tape.constant(f32({3, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1})));
  }
  {
    const Tape::Scope in(tape, "lin1");
    x = linear(x, tape.constant(Tensor::full({DType::f32, {4, 3}}, 1)), row({-10, 1, 1, 1}));
  }
  x = relu(x);
  const Tape::Scope in(tape, "lin2");
  return linear(x, tape.constant(Tensor::full({DType::f32, {2, 4}}, 1)), row({-1, 1}));
}

Explainer dense_explainer() { return Explainer(dense_net, {1, 3, 1}); }

Attribution of_dense(std::string_view method, const char* layer, PathRule rule = {}) {
  Explainer explainer = dense_explainer();
  ExplainOptions options;
  options.layer = layer;
  options.steps = 600;
  options.budget = 1e9;
  options.rule = rule;
  return explainer.explain(method, f32({1, 1, 3, 1}, {0, 100, 0}), classes({0}), options);
}

TEST(Layers, GradientTimesActivationAtEveryCut) {
  const auto at = [](const char* layer) {
    return numbers(of_dense("gradient-x-activation", layer).map);
  };
  EXPECT_EQ(at("lin0"), (std::vector<float>{0, 400, 0}));
  EXPECT_EQ(at("lin1"), (std::vector<float>{90, 101, 101, 101}));
  EXPECT_EQ(at("relu"), (std::vector<float>{90, 101, 101, 101}));
  EXPECT_EQ(at("lin2"), (std::vector<float>{392, 0}));
  EXPECT_EQ(numbers(of_dense("activation", "lin1").map), (std::vector<float>{90, 101, 101, 101}));
}

TEST(IntegratedGradients, MemoryDoesNotGrowWithTheSteps) {
  Explainer explainer = dense_explainer();
  const Tensor x = f32({1, 1, 3, 1}, {0, 100, 0});
  const auto peak = [&](int steps, int chunk) {
    ExplainOptions options;
    options.steps = steps;
    options.budget = 1e9;
    options.chunk = chunk;
    explainer.explain("integrated-gradients", x, classes({0}), options);  // Programs are compiled
    Allocator& memory = Allocator::of(Device::cpu());
    memory.reset_peak();
    const std::size_t before = memory.use().live;
    explainer.explain("integrated-gradients", x, classes({0}), options);
    return memory.use().peak - before;
  };
  const std::size_t few = peak(30, 8);
  EXPECT_EQ(peak(3000, 8), few);
  EXPECT_GT(peak(3000, 64), few) << "this measure does see a larger chunk";
}

// A unit of an inner node: its flattened values stand in the logits' place.
Explainer aimed_at(const char* node) {
  return Explainer(
      [node](Tape& tape, Var image) {
        dense_net(tape, image);
        return flatten(tape.find(node));
      },
      {1, 3, 1});
}

std::vector<float> of_unit(std::string_view method, const char* node, std::int64_t unit,
                           std::vector<float> x) {
  ExplainOptions options;
  options.steps = 3000;
  options.budget = 1e9;
  Explainer explainer = aimed_at(node);
  return numbers(explainer.explain(method, f32({1, 1, 3, 1}, x), classes({unit}), options).map);
}

TEST(Units, GradientsOfInnerUnits) {
  EXPECT_EQ(of_unit("saliency", "lin2", 0, {0, 100, 0}), (std::vector<float>{4, 4, 4}));
  EXPECT_EQ(of_unit("saliency", "lin1", 0, {0, 100, 0}), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(of_unit("saliency", "relu", 0, {0, 5, 4}), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(of_unit("saliency", "relu", 1, {0, 5, 4}), (std::vector<float>{1, 1, 1}));
}

TEST(Units, IntegratedGradientsOfInnerUnits) {
  const auto ig = [](const char* node, std::int64_t unit, std::vector<float> x) {
    return of_unit("integrated-gradients", node, unit, x);
  };
  expect_near(ig("lin1", 0, {0, 100, 0}), {0, 100, 0}, 1e-3f);
  // The unit opens half way: a kink, which a rule of 3000 points meets within a few thousandths.
  expect_near(ig("relu", 0, {0, 6, 14}), {0, 3, 7}, 0.01f);
  expect_near(ig("relu", 2, {0, 5, 4}), {0, 5, 4}, 1e-3f);
}

TEST(Layers, ConductanceAddsUpToTheChangeAtEveryCut) {
  for (const char* layer : {"lin0", "lin1", "relu", "lin2"}) {
    const Attribution result = of_dense("conductance", layer);
    EXPECT_NEAR(total(result.map), 390, 0.5) << layer;
    EXPECT_NEAR(result.residual.item(), 390 - total(result.map), 1e-3);
  }
  expect_near(numbers(of_dense("conductance", "lin0").map), {0, 390, 0}, 0.5f);
  expect_near(numbers(of_dense("conductance", "lin1").map), {90, 100, 100, 100}, 0.5f);
  expect_near(numbers(of_dense("conductance", "relu").map), {90, 100, 100, 100}, 0.5f);
  expect_near(numbers(of_dense("conductance", "lin2").map), {390, 0}, 1e-2f);
}

TEST(Layers, IntegratedGradientsAtALayerGoStraightInThatLayersValues) {
  // Behind lin1 only unit 0 has a kink: it goes from -10 to 90, the others from 1 to 101.
  expect_near(numbers(of_dense("layer-integrated-gradients", "lin1").map), {90, 100, 100, 100},
              0.5f);
  // Without the factor: the share of the path on which unit 0 is on.
  expect_near(numbers(of_dense("internal-influence", "lin1").map), {0.9f, 1, 1, 1}, 5e-3f);
}

TEST(IntegratedGradients, KinkErrorOfGaussLegendre) {
  EXPECT_NEAR(of_dense("integrated-gradients", "", PathRule::midpoint).map.item(1), 390, 0.2);
  Explainer explainer = dense_explainer();
  ExplainOptions options;
  options.rule = PathRule::gauss_legendre;
  options.steps = 75;  // 50 points, and 25 more for the error
  const Attribution result = explainer.explain(
      "integrated-gradients", f32({1, 1, 3, 1}, {0, 100, 0}), classes({0}), options);
  EXPECT_NEAR(result.map.item(1), 390.179359, 1e-3);
}

// The mean is taken behind a first convolution; of a net whose picture goes two ways it is not.
// Here every gradient is taken by the picture.
TEST(IntegratedGradients, BehindAnAffineStartAreThoseOfThePicture) {
  for (int family = 0; family < RandomNet::kFamilies; ++family) {
    for (const bool two_ways : {false, true}) {
      SCOPED_TRACE(fmt::format("family {}, two ways {}", family, two_ways));
      const Explainer::Record record = [=](Tape& tape, Var image) {
        RandomNet net(tape, 1, DType::f32);
        const Var logits = net.logits(image, family);
        return two_ways ? add(logits, slice(flatten(square(image)), 1, 0, 4)) : logits;
      };
      Tensor image({DType::f32, {2, 6, 6, 3}});
      PhiloxStream random(3);
      for (float& v : image.values<float>()) v = static_cast<float>(random.normal());
      Tape tape(Device::cpu(), Mode::evaluation);
      const Var points = tape.input("image", DType::f32, {2, 6, 6, 3});
      const Var index = tape.input("class", DType::i64, {2});
      Program program =
          tape.compile({tape.gradient(class_logit(record(tape, points), index), {points})[0]});
      const Tensor chosen = classes({1, 3});
      const Estimate want = integrated_gradients(
          [&](const Tensor& at) {
            std::vector<std::int64_t> each;
            for (std::int64_t n = 0; n < at.shape()[0]; ++n) each.push_back(n % 2 == 0 ? 1 : 3);
            return program.run({{"image", at}, {"class", classes(each)}})[0];
          },
          image, Tensor::zeros({DType::f32, {1, 6, 6, 3}}), quadrature(PathRule::midpoint, 51));
      Explainer explainer(record, {6, 6, 3});
      const Attribution got = explainer.explain("integrated-gradients", image, chosen, {});
      double largest = 0;
      for (float v : numbers(want.map)) largest = std::max(largest, std::abs(double{v}));
      for (std::int64_t i = 0; i < want.map.elements(); ++i) {
        ASSERT_NEAR(got.map.item(i), want.map.item(i), 1e-5 * largest) << i;
      }
      for (std::int64_t n = 0; n < 2; ++n) {
        ASSERT_NEAR(got.error_estimate.item(n), want.error.item(n), 1e-5 * largest);
      }
    }
  }
}

TEST(IntegratedGradients, SeveralBaselinesAverage) {
  Explainer explainer = dense_explainer();
  const Tensor x = f32({1, 1, 3, 1}, {0, 100, 0});
  const Tensor low = f32({1, 3, 1}, {0, 0, 0}), high = f32({1, 3, 1}, {20, 50, 30});
  for (std::string_view method : {"integrated-gradients", "deeplift-shap"}) {
    const auto map = [&](std::vector<Tensor> baselines) {
      ExplainOptions options;
      options.baselines = std::move(baselines);
      return explainer.explain(method, x, classes({0}), options);
    };
    const Attribution both = map({low, high});
    const std::vector<float> a = numbers(map({low}).map), b = numbers(map({high}).map);
    expect_near(numbers(both.map), {(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2},
                1e-4f);
    EXPECT_NEAR(both.residual.item(), (390 + 0) / 2.0 - total(both.map), 1e-3) << method;
  }
}

TEST(GradientShap, IsExactOnALinearFunctionAndTellsItsErrorElsewhere) {
  Explainer line(
      [](Tape& tape, Var image) {
        return linear(flatten(image), tape.constant(f32({1, 3}, {1, -2, 3})));
      },
      {1, 3, 1});
  const Tensor x = f32({1, 1, 3, 1}, {1, 2, 4});
  const Attribution exact = line.explain("gradient-shap", x, classes({0}));
  expect_near(numbers(exact.map), {1, -4, 12}, 1e-5f);
  EXPECT_NEAR(exact.error_estimate.item(), 0, 1e-6);
  Explainer explainer = dense_explainer();
  ExplainOptions options;
  options.draws = 200;
  const Attribution result =
      explainer.explain("gradient-shap", f32({1, 1, 3, 1}, {0, 100, 0}), classes({0}), options);
  EXPECT_GT(result.error_estimate.item(), 0);
  EXPECT_NEAR(result.map.item(1), 390, 4 * result.error_estimate.item());
}

TEST(SmoothGrad, OfALinearFunctionIsItsGradientAndItsVarianceIsNothing) {
  Explainer line(
      [](Tape& tape, Var image) {
        return linear(flatten(image), tape.constant(f32({1, 3}, {1, -2, 3})));
      },
      {1, 3, 1});
  const Tensor x = f32({1, 1, 3, 1}, {1, 2, 4});
  EXPECT_EQ(numbers(line.explain("smoothgrad", x, classes({0})).map),
            (std::vector<float>{1, -2, 3}));
  EXPECT_EQ(numbers(line.explain("smoothgrad-squared", x, classes({0})).map),
            (std::vector<float>{1, 4, 9}));
  EXPECT_EQ(numbers(line.explain("vargrad", x, classes({0})).map), (std::vector<float>{0, 0, 0}));
}

TEST(FullGrad, InputAndBiasesAddUpToTheAnswer) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", f32({1, 1, 3, 1}, {0, 100, 0}));
  const Var target = class_of(tape, dense_net(tape, x), 0);
  const FullGradient full = full_gradient(tape, target, x);
  EXPECT_NEAR(target.value().item(), 392, 1e-4);
  EXPECT_NEAR(full.input_part.value().item(), 400, 1e-4);
  EXPECT_NEAR(full.bias_part.value().item(), -8, 1e-4);  // -7 of lin1, -1 of lin2
}

// Fixed feature maps and gradients: the target is sum(g * A), whose gradient is g everywhere.
struct FixedMaps {
  Tape tape{Device::cpu(), Mode::evaluation};
  // A0 = [[1,2],[0,3]], A1 = [[2,0],[1,1]]; g0 = [[.5,-1],[2,1]], g1 = [[-1,.5],[1,-.5]].
  Var a = tape.input("a", f32({1, 2, 2, 2}, {1, 2, 2, 0, 0, 1, 3, 1}));
  Var weights = tape.constant(f32({1, 8}, {0.5f, -1, -1, 0.5f, 2, 1, 1, -0.5f}));
  Var target = class_of(tape, linear(reshape(a, {8}), weights), 0);
};

TEST(CamFamily, OfFixedMapsAndGradients) {
  FixedMaps net;
  const auto check = [&](Var map, std::vector<float> expected) {
    expect_near(numbers(map.value()), expected, 1e-5f);
  };
  check(grad_cam(net.tape, net.target, net.a), {0.625f, 1.25f, 0, 1.875f});
  check(hires_cam(net.tape, net.target, net.a), {-1.5f, -2, 1, 2.5f});
  check(layer_cam(net.tape, net.target, net.a), {0.5f, 0, 1, 3});
  check(xgrad_cam(net.tape, net.target, net.a), {-0.5f, 0.5f, -0.375f, 0.375f});
  check(grad_cam_plus_plus(net.tape, net.target, net.a),
        {0.951190f, 0.735714f, 0.291667f, 1.395238f});
}

// 5x5: gradients of 2 in two corners and 3 in the middle of rows 1 and 4, mean 22/25.
TEST(CamFamily, GradCamWeighsByTheMeanGradient) {
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<float> gradient(25, 0.0f), maps, want;
  gradient[0] = gradient[24] = 2;
  for (std::size_t r : {1, 4}) {
    for (std::size_t c : {1, 2, 3}) gradient[5 * r + c] = 3;
  }
  for (float sign : {-1.f, 1.f, 0.f, 1.f, -1.f}) {
    for (float v : {1.f, 2.f, 3.f, 2.f, 1.f}) {
      maps.push_back(sign * v);
      want.push_back(std::max(sign, 0.0f) * v / 3);
    }
  }
  const Var a = tape.input("a", f32({1, 5, 5, 1}, maps));
  const Var y = class_of(tape, linear(reshape(a, {25}), tape.constant(f32({1, 25}, gradient))), 0);
  std::vector<float> map = numbers(grad_cam(tape, y, a).value());
  for (std::size_t i = 0; i < 25; ++i) EXPECT_NEAR(map[i], .88f * maps[i], 1e-6) << i;
  // As it is drawn: what speaks for the class, in shares of the largest.
  const float largest = *std::max_element(map.begin(), map.end());
  for (float& v : map) v = std::max(v, 0.0f) / largest;
  expect_near(map, want, 1e-6f);
}

TEST(EigenCam, TakesTheFirstSingularVectorWithTheMapsOwnSign) {
  FixedMaps net;
  const Tensor a = net.a.value();
  expect_near(numbers(eigen_cam(a)), {1.767681f, 1.802606f, 0.433189f, 3.137098f}, 1e-5f);
  // Negated maps have the same singular vectors; the answer follows sum_k A_k and is negated.
  Tensor negated = a.clone();
  for (float& v : negated.values<float>()) v = -v;
  expect_near(numbers(eigen_cam(negated)), {-1.767681f, -1.802606f, -0.433189f, -3.137098f}, 1e-5f);
  expect_near(numbers(eigen_cam(Tensor::zeros(a.type()))), {0, 0, 0, 0}, 0);
}

TEST(PathMethods, DoNotDependOnHowManyPointsShareARun) {
  Explainer explainer = dense_explainer();
  PhiloxStream random(4);
  Tensor x(Type{DType::f32, {3, 1, 3, 1}});
  for (float& v : x.values<float>()) v = static_cast<float>(20 * random.normal());
  for (std::string_view method :
       {"integrated-gradients", "smoothgrad", "smoothgrad-squared", "vargrad", "gradient-shap"}) {
    ExplainOptions options;
    options.chunk = 1;
    const std::vector<float> one =
        numbers(explainer.explain(method, x, classes({0, 1, 0}), options).map);
    options.chunk = 7;
    EXPECT_EQ(numbers(explainer.explain(method, x, classes({0, 1, 0}), options).map), one)
        << method;
  }
}

TEST(Methods, EachIsDescribed) {
  for (const Method& info : all_methods()) {
    EXPECT_FALSE(info.about.cost.empty()) << info.name;
    EXPECT_FALSE(info.about.blind_to.empty()) << info.name;
    EXPECT_TRUE(info.name == "activation" || info.name == "gradient-x-activation" ||
                !info.about.paper.empty())
        << info.name;
  }
}

}  // namespace
}  // namespace tapescope::explain
