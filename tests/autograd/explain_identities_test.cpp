// What has to hold of all methods on any net, on the CPU and on the emulated device.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <utility>

#include "autograd/explain/explainer.h"
#include "autograd/explain/perturbation.h"
#include "tests/autograd/explain_cases.h"
#include "tests/autograd/random_net.h"

namespace tapescope::explain {
namespace {

constexpr std::int64_t kSide = 6;

Tensor noise(Shape shape, std::uint64_t seed) {
  Tensor values({DType::f32, shape});
  PhiloxStream random(seed);
  for (float& v : values.values<float>()) v = static_cast<float>(random.normal());
  return values;
}

const Tensor kImages = noise({2, kSide, kSide, 3}, 1);
const Tensor kClasses = Tensor::from<std::int64_t>({2}, {1, 3});

Explainer explainer_of(int family, Device device) {
  return Explainer(
      [family](Tape& tape, Var image) {
        return RandomNet(tape, 40 + static_cast<std::uint64_t>(family), DType::f32)
            .logits(image, family);
      },
      {kSide, kSide, 3}, Backend{device, {}});
}

// Few points: what is tested holds for any number.
ExplainOptions few() {
  ExplainOptions options;
  options.steps = 9;
  options.draws = 4;
  options.budget = 80;
  options.grid = 2;
  options.baselines = {noise({kSide, kSide, 3}, 7)};
  return options;
}

double largest_of(const Tensor& tensor) {
  double largest = 0;
  for (float v : tensor.values<float>()) largest = std::max(largest, std::abs(double{v}));
  return largest;
}

// Sums of size and of value of image n.
struct Sums {
  double sum = 0, size = 0;
};
Sums sums_of(const Tensor& map, std::int64_t n) {
  Sums result;
  for (float v : map.rows(n, n + 1).values<float>()) {
    result.sum += v;
    result.size += std::abs(double{v});
  }
  return result;
}

// The methods that the family's net does not admit.
std::set<std::string_view> refused_by(int family) {
  std::set<std::string_view> refused;
  for (const Method& info : all_methods()) {
    const std::string_view name = info.name;
    // A perceptron has no feature maps; its hidden units are at_layer methods' to be named.
    if (family == 0 && info.has(kAtLayer)) refused.insert(name);
    const bool rules = name.starts_with("lrp-") || name.find("excitation") != name.npos;
    if (family == 4 && rules) refused.insert(name);  // no rule for a gate
  }
  return refused;
}

class Family : public testing::TestWithParam<int> {};

TEST_P(Family, MethodsAddUpAndAgreeBetweenDevices) {
  const int family = GetParam();
  Explainer cpu = explainer_of(family, Device::cpu());
  Explainer emulated = explainer_of(family, Device::emulated());
  const Tensor logits = cpu.logits(kImages);
  std::set<std::string_view> refused;
  for (const Method& info : all_methods()) {
    SCOPED_TRACE(info.name);
    Attribution on_cpu;
    try {
      on_cpu = cpu.explain(info.name, kImages, kClasses, few());
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage) << error.what();
      EXPECT_THROW(emulated.explain(info.name, kImages, kClasses, few()), Error);
      refused.insert(info.name);
      continue;
    }
    ExplainOptions other_runs = few();
    other_runs.chunk = 3;
    const Attribution again = cpu.explain(info.name, kImages, kClasses, other_runs);
    EXPECT_EQ(numbers(again.map), numbers(on_cpu.map)) << "the second time, in other runs";
    for (std::int64_t n = 0; n < 2; ++n) {
      const Tensor alone =
          cpu.explain(info.name, kImages.rows(n, n + 1), kClasses.rows(n, n + 1), few()).map;
      EXPECT_EQ(numbers(alone), numbers(on_cpu.map.rows(n, n + 1))) << "picture " << n << " alone";
    }
    const Attribution there = emulated.explain(info.name, kImages, kClasses, few());
    ASSERT_EQ(there.map.shape(), on_cpu.map.shape());
    const double scale = 1e-3 * largest_of(on_cpu.map) + 1e-6;
    for (std::int64_t i = 0; i < there.map.elements(); ++i) {
      ASSERT_NEAR(there.map.item(i), on_cpu.map.item(i), scale) << i;
    }
    for (const Tensor* const value : {&std::as_const(on_cpu.value), &there.value}) {
      for (std::int64_t n = 0; n < 2; ++n) {
        EXPECT_NEAR(value->item(n), logits.item(4 * n + kClasses.item(n)), 1e-4);
      }
    }
  }
  EXPECT_EQ(refused, refused_by(family));
}

// sum = F(x) - F(x'): to rounding where the method promises it, by as much as the steps leave
// elsewhere. F(x) alone for FullGrad, on nets of ReLUs.
TEST_P(Family, ResidualsVanish) {
  const int family = GetParam();
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    Explainer explainer = explainer_of(family, device);
    const Tensor logits = explainer.logits(kImages);
    const Tensor start =
        explainer.logits(repeated_rows(few().baselines[0].reshape({1, kSide, kSide, 3}), 2));
    const auto change = [&](std::int64_t n) {
      const std::int64_t at = 4 * n + kClasses.item(n);
      return logits.item(at) - start.item(at);
    };
    for (std::string_view method :
         {"deeplift", "deeplift-shap", "shapley", "kernel-shap", "fullgrad"}) {
      if (method == "fullgrad" && (family == 3 || family == 4 || family >= 6))
        continue;  // not of ReLUs alone
      const Attribution result = explainer.explain(method, kImages, kClasses, few());
      for (std::int64_t n = 0; n < 2; ++n) {
        const Sums sums = sums_of(result.map, n);
        EXPECT_NEAR(result.residual.item(n), 0, 1e-5 * (1 + sums.size)) << method;
        if (method != "fullgrad") {
          EXPECT_NEAR(sums.sum, change(n), 1e-5 * (1 + sums.size)) << method;
        }
      }
    }
    ExplainOptions fine = few();
    fine.budget = 1e9;
    fine.steps = device == Device::cpu() ? 1500 : 150;
    const double share = device == Device::cpu() ? 0.01 : 0.05;
    for (std::string_view method :
         {"integrated-gradients", "conductance", "layer-integrated-gradients"}) {
      // A perceptron's layers have to be named; the gate's halves are no cut through the net.
      if (family == 0 && method != "integrated-gradients") continue;
      const Attribution result = explainer.explain(method, kImages, kClasses, fine);
      for (std::int64_t n = 0; n < 2; ++n) {
        const Sums sums = sums_of(result.map, n);
        EXPECT_NEAR(sums.sum, change(n), share * sums.size) << method;
        EXPECT_NEAR(result.residual.item(n), change(n) - sums.sum, 1e-4 * sums.size) << method;
      }
    }
  }
}

// What the methods say of each other at the last feature map.
TEST_P(Family, ClassActivationMapsAgree) {
  const int family = GetParam();
  if (family == 0) return;  // no feature maps
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    Explainer explainer = explainer_of(family, device);
    const auto map = [&](std::string_view method) {
      return explainer.explain(method, kImages, kClasses, few()).map;
    };
    const Tensor products = map("gradient-x-activation"), hires = map("hires-cam");
    const Tensor xgrad = map("xgrad-cam"), grad_cam = map("grad-cam");
    const std::int64_t channels = products.shape()[3];
    for (std::int64_t i = 0; i < hires.elements(); ++i) {  // HiResCAM is their sum over channels
      double sum = 0;
      for (std::int64_t c = 0; c < channels; ++c) sum += products.item(i * channels + c);
      EXPECT_NEAR(hires.item(i), sum, 1e-5);
    }
    for (std::int64_t n = 0; n < 2; ++n) {  // XGrad-CAM keeps their sum
      EXPECT_NEAR(sums_of(xgrad, n).sum, sums_of(products, n).sum,
                  1e-4 * (1 + sums_of(products, n).size));
    }
    if (family != 2) continue;
    const Tensor cam = map("cam");  // a global mean: Grad-CAM and HiResCAM are CAM / positions
    const auto places = static_cast<double>(cam.shape()[1] * cam.shape()[2]);
    for (std::int64_t i = 0; i < cam.elements(); ++i) {
      EXPECT_NEAR(grad_cam.item(i), cam.item(i) / places, 1e-5);
      EXPECT_NEAR(hires.item(i), cam.item(i) / places, 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nets, Family, testing::Range(0, RandomNet::kFamilies));

// Completeness of conductance at every node that all ways go through.
TEST(Identities, ConductanceAddsUpAtEveryCut) {
  for (int family : {1, 5}) {
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet net(tape, 40 + static_cast<std::uint64_t>(family), DType::f32);
    net.logits(tape.input("image", DType::f32, {2, kSide, kSide, 3}), family);
    Explainer explainer = explainer_of(family, Device::cpu());
    ExplainOptions options = few();
    options.steps = 900;
    options.budget = 1e9;
    const Tensor start = explainer.logits(options.baselines[0].reshape({1, kSide, kSide, 3}));
    const Tensor end = explainer.logits(kImages);
    int cuts = 0;
    for (const Node* node : tape.nodes()) {
      if (node->op->is_leaf() || node->types()[0].shape.rank() < 2) continue;
      options.layer = node->path();
      const Attribution result = explainer.explain("conductance", kImages, kClasses, options);
      for (std::int64_t n = 0; n < 2; ++n) {
        const Sums sums = sums_of(result.map, n);
        const std::int64_t at = kClasses.item(n);
        EXPECT_NEAR(sums.sum, end.item(4 * n + at) - start.item(at), 0.02 * sums.size)
            << family << " " << node->path();
      }
      ++cuts;
    }
    EXPECT_GE(cuts, 6);
  }
}

// Every node of a net may be the layer that is looked at, whatever goes around it: a method either
// answers or says what it lacks there.
TEST(Identities, LayersMayLieBesideAnotherWay) {
  for (int family = 0; family < RandomNet::kFamilies; ++family) {
    Tape tape(Device::cpu(), Mode::evaluation);
    RandomNet net(tape, 40 + static_cast<std::uint64_t>(family), DType::f32);
    const Var image = tape.input("image", DType::f32, {2, kSide, kSide, 3});
    net.logits(image, family);
    Explainer explainer = explainer_of(family, Device::cpu());
    ExplainOptions options = few();
    int answered = 0;
    for (const Node* node : tape.nodes()) {
      if (node->op->is_leaf()) continue;
      options.layer = node->path();
      for (const Method& method : all_methods()) {
        if (!method.has(kAtLayer)) continue;
        try {
          explainer.explain(method.name, kImages, kClasses, options);
          ++answered;
        } catch (const Error& error) {
          EXPECT_EQ(error.blame(), Blame::usage) << error.what();
          EXPECT_EQ(std::string(error.what()).find("[run]"), std::string::npos)
              << method.name << " at " << options.layer << ": " << error.what();
        }
      }
    }
    EXPECT_GT(answered, 20) << family;
  }
}

// The score of a class is the mean over positions of a * x, where a = x^2 is the layer and x, the
// picture, goes around it.
TEST(Identities, WhatGoesAroundTheLayerStaysThePictures) {
  Explainer explainer(
      [](Tape&, Var image) {
        const Var inner = square(image);
        const int positions[] = {1, 2};
        return reshape(reduce_mean(mul(inner, image), positions), {3});
      },
      {kSide, kSide, 3});
  const Tensor classes = Tensor::from<std::int64_t>({2}, {1, 2});
  ExplainOptions options;
  options.layer = "square";
  options.baselines = {noise({kSide, kSide, 3}, 7)};
  const Tensor ablation = explainer.explain("ablation-cam", kImages, classes, options).map;
  const Attribution path =
      explainer.explain("layer-integrated-gradients", kImages, classes, options);
  constexpr auto kPlaces = kSide * kSide;
  for (std::int64_t n = 0; n < 2; ++n) {
    const std::int64_t c = classes.item(n);
    double score = 0, left = 0;
    for (std::int64_t p = 0; p < kPlaces; ++p) {
      const double x = kImages.item((n * kPlaces + p) * 3 + c);
      const double start = options.baselines[0].item(p * 3 + c);
      score += x * x * x / kPlaces;
      left += start * start * (x - start) / kPlaces;
    }
    for (std::int64_t p = 0; p < kPlaces; ++p) {
      for (std::int64_t k = 0; k < 3; ++k) {
        const double x = kImages.item((n * kPlaces + p) * 3 + k);
        const double start = options.baselines[0].item(p * 3 + k);
        const double want = k == c ? (x * x - start * start) * x / kPlaces : 0;
        EXPECT_NEAR(path.map.item((n * kPlaces + p) * 3 + k), want, 1e-5);
      }
      // Without the class's channel the score is 0, without another one it stays.
      const double x = kImages.item((n * kPlaces + p) * 3 + c);
      EXPECT_NEAR(ablation.item(n * kPlaces + p), (score > 0 ? 1 : -1) * x * x, 1e-5);
    }
    EXPECT_NEAR(path.residual.item(n), left, 1e-5) << "what went around";
  }
}

// Of a linear function every method that compares with zero is the input times the gradient.
TEST(Identities, OnALinearFunctionAllAgree) {
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    Explainer explainer(
        [](Tape& tape, Var image) {
          RandomNet net(tape, 3, DType::f32);
          return net.head(avg_pool2d(net.conv(image, 4, false), {}), 4);
        },
        {kSide, kSide, 3}, Backend{device, {}});
    ExplainOptions options;
    options.window = options.stride = 1;
    options.steps = 3;
    options.draws = 2;
    options.grid = static_cast<int>(kSide);
    const Tensor want = explainer.explain("input-x-gradient", kImages, kClasses).map;
    for (std::string_view method :
         {"integrated-gradients", "gradient-shap", "deeplift", "lrp-epsilon", "occlusion",
          "feature-ablation", "shapley", "kernel-shap"}) {
      const Tensor got = explainer.explain(method, kImages, kClasses, options).map;
      const bool by_position = got.shape()[3] == 1;
      for (std::int64_t p = 0; p < 2 * kSide * kSide; ++p) {
        double sum = 0;
        for (std::int64_t c = 0; c < 3; ++c) {
          sum += want.item(3 * p + c);
          if (by_position) continue;
          EXPECT_NEAR(got.item(3 * p + c), want.item(3 * p + c), 2e-4) << method;
        }
        if (!by_position) continue;
        EXPECT_NEAR(got.item(p), sum, 2e-4) << method << " at " << p;
      }
    }
    EXPECT_NEAR(largest_of(explainer.explain("vargrad", kImages, kClasses, options).map), 0, 1e-9);
  }
}

// Without biases nothing is lost; the others have shifts that take their share.
TEST(Identities, ExcitationIsADistribution) {
  for (int family : {0, 1, 5}) {
    for (const Device device : {Device::cpu(), Device::emulated()}) {
      Explainer explainer(
          [family](Tape& tape, Var image) {
            return RandomNet(tape, 40 + static_cast<std::uint64_t>(family), DType::f32)
                .logits(square(image), family);
          },
          {kSide, kSide, 3}, Backend{device, {}});
      const Tensor map = explainer.explain("excitation-backprop", kImages, kClasses).map;
      for (std::int64_t n = 0; n < 2; ++n) {
        EXPECT_NEAR(sums_of(map, n).sum, 1, 1e-3) << family;
      }
    }
  }
}

}  // namespace
}  // namespace tapescope::explain
