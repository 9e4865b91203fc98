// The networks that people have weights of: counts, a few steps of training, and every explanation.
// Names, logits and gradients against PyTorch's: tests/tools/pytorch_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "autograd/explain/explainer.h"
#include "autograd/explain/target.h"
#include "autograd/program/program.h"
#include "engine/philox.h"
#include "layers/losses.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/blocks.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

std::int64_t trained_count(const Module& model) {
  std::int64_t total = 0;
  for (const ParameterRef& parameter : model.trained_parameters()) {
    total += parameter->value.elements();
  }
  return total;
}

// A narrow one for small pictures.
std::unique_ptr<Classifier> small(std::string_view name, std::int64_t side,
                                  std::uint64_t seed = 5) {
  return make_model({.name = std::string(name),
                     .classes = 4,
                     .channels = 3,
                     .image_size = side,
                     .width = 0.0625,
                     .seed = seed});
}

Tensor pictures(std::int64_t rows, std::int64_t side, std::uint64_t seed = 9) {
  Tensor images({DType::f32, {rows, side, side, 3}});
  PhiloxStream random(seed);
  for (float& v : images.values<float>()) v = static_cast<float>(random.normal());
  return images;
}

// As torchvision's documentation gives them (timm's for lite0), with 1000 classes.
TEST(Backbones, HaveTheParametersThatTorchvisionCounts) {
  const std::map<std::string_view, std::int64_t> counts = {
      {"resnet34", 21'797'672},          {"resnet50", 25'557'032},
      {"vgg16_bn", 138'365'992},         {"densenet121", 7'978'856},
      {"mobilenet_v2", 3'504'872},       {"mobilenet_v3_large", 5'483'032},
      {"mobilenet_v3_small", 2'542'856}, {"efficientnet_b0", 5'288'548},
      {"efficientnet_lite0", 4'652'008}, {"tf_efficientnet_lite0", 4'652'008},
      {"convnext_tiny", 28'589'128}};
  ASSERT_EQ(backbones::all().size(), counts.size());
  for (const backbones::Backbone& backbone : backbones::all()) {
    // With room for a file's values nothing is drawn.
    const auto model = make_model({.name = std::string(backbone.name),
                                   .classes = 1000,
                                   .channels = 3,
                                   .image_size = 224,
                                   .room = std::make_shared<std::int64_t>(std::int64_t{1} << 40)});
    EXPECT_EQ(trained_count(*model), counts.at(backbone.name)) << backbone.name;
  }
}

// 7 from 4: the bins that PyTorch's adaptive pooling takes, [0,1) [0,2) [1,2) [1,3) [2,3) [2,4)
// [3,4).
TEST(Backbones, AdaptivePoolingTakesPyTorchsBins) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var row = tape.input("row", Tensor::from<float>({1, 1, 4, 1}, {1, 2, 4, 8}));
  const Tensor y = backbones::adaptive_avg_pool2d(row, 7).value();
  ASSERT_EQ(y.shape(), (Shape{1, 7, 7, 1}));
  const double want[] = {1, 1.5, 2, 3, 4, 6, 8};
  for (std::int64_t i = 0; i < 49; ++i) EXPECT_EQ(y.item(i), want[i % 7]);
  const Var square = tape.input("square", pictures(1, 14));
  EXPECT_EQ(backbones::adaptive_avg_pool2d(square, 7).node->op->name(), "avg_pool2d");
  EXPECT_EQ(backbones::adaptive_avg_pool2d(square, 14), square);
}

TEST(Backbones, WidthsAreRoundedToEights) {
  EXPECT_EQ(backbones::divisible(32 * 0.25), 8);
  EXPECT_EQ(backbones::divisible(24 * 0.5), 16)
      << "12 is as near to 8, which is less than 0.9 of it";
  EXPECT_EQ(backbones::divisible(96 * 0.35), 32);
  EXPECT_EQ(backbones::divisible(160 * 0.75), 120);
}

class Backbone : public testing::TestWithParam<std::string_view> {};

// Losses of a net that is trained to tell four pictures from each other, on a device.
std::vector<double> losses(std::string_view name, Device device, int steps, std::int64_t side,
                           const char* optimizer_name, float rate) {
  const auto model = small(name, side);
  move_to(device, model->parameters());
  const Tensor images = pictures(4, side);
  Tape tape(device, Mode::training);
  const Var image = tape.input("image", DType::f32, images.shape());
  const Var label = tape.input("label", DType::i64, {4});
  const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
  Optimizer optimizer({.name = optimizer_name});
  const std::vector<ParameterRef> trained = model->trained_parameters();
  const Effects effects = optimizer.update(trained, tape.gradient(loss, trained));
  Program program = tape.compile({loss}, effects);
  std::vector<double> all;
  for (int step = 0; step < steps; ++step) {
    all.push_back(program
                      .run({{"image", images.to(device)},
                            {"label", Tensor::from<std::int64_t>({4}, {0, 1, 2, 3}).to(device)},
                            {"learning_rate", Tensor::scalar(rate).to(device)},
                            {"step", Tensor::scalar_i64(step).to(device)}})[0]
                      .item());
  }
  return all;
}

TEST_P(Backbone, LearnsFourPicturesByHeart) {
  const std::vector<double> all = losses(GetParam(), Device::cpu(), 40, 64, "adamw", 0.003f);
  EXPECT_NEAR(all.front(), std::log(4.0), 1.2);
  double last = 0;
  for (std::size_t i = all.size() - 5; i < all.size(); ++i) last += all[i] / 5;
  EXPECT_LT(last, 0.7 * all.front());
}

// Every method answers or says why not, and what promises to add up does.
TEST_P(Backbone, EveryMethodExplainsIt) {
  using namespace explain;
  constexpr std::int64_t kSide = 64;
  const auto model = small(GetParam(), kSide);
  const Tensor images = pictures(1, kSide), classes = Tensor::from<std::int64_t>({1}, {2});
  Explainer explainer(
      [&](Tape&, Var image) {
        return (*model)({{"image", image}}).at("logits");
      },
      images.shape().without_leading());
  ExplainOptions few;
  few.steps = few.draws = 4;
  few.budget = 12;
  few.grid = 2;
  few.lrp.rules = "*=epsilon";
  std::set<std::string_view> refused;
  for (const Method& method : all_methods()) {
    SCOPED_TRACE(method.name);
    Attribution result;
    try {
      result = explainer.explain(method.name, images, classes, few);
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage) << error.what();
      refused.insert(method.name);
      continue;
    }
    double largest = 0, size = 0;
    for (float v : result.map.values<float>()) {
      ASSERT_TRUE(std::isfinite(v));
      largest = std::max(largest, std::abs(static_cast<double>(v)));
      size += std::abs(static_cast<double>(v));
    }
    // A CAM that is negative everywhere leaves nothing of a guided one.
    EXPECT_TRUE(largest > 0 || method.has(kAtLayer));
    if (method.name == std::string_view("deeplift")) {
      EXPECT_NEAR(result.residual.item(), 0, 1e-4 * (1 + size));
    }
  }
  // Behind the last feature map these have more than a linear layer.
  const std::set<std::string_view> nonlinear_tails = {"vgg16_bn", "mobilenet_v3_large",
                                                      "mobilenet_v3_small", "convnext_tiny"};
  EXPECT_EQ(refused, nonlinear_tails.contains(GetParam()) ? std::set<std::string_view>{"cam"}
                                                          : std::set<std::string_view>{});
}

INSTANTIATE_TEST_SUITE_P(All, Backbone,
                         testing::Values("resnet34", "resnet50", "vgg16_bn", "densenet121",
                                         "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
                                         "efficientnet_b0", "efficientnet_lite0",
                                         "tf_efficientnet_lite0", "convnext_tiny"),
                         [](const auto& each) { return std::string(each.param); });

// By SGD: AdamW's first step is one of signs, and those of gradients near zero are rounding's.
TEST(Backbones, TrainOnTheEmulatedDeviceAsOnTheCpu) {
  struct Run {
    std::string_view name;
    int steps;
  };
  // mobilenet_v2 is a step: at 1x1 its batch norms see four values each, and two of the CPU's own
  // convolutions give gradients that are as far apart as the emulator's.
  for (const auto& [name, steps] :
       {Run{"mobilenet_v2", 1}, Run{"mobilenet_v3_small", 2}, Run{"convnext_tiny", 2}}) {
    const std::vector<double> here = losses(name, Device::cpu(), steps, 32, "sgd", 0.01f);
    const std::vector<double> there = losses(name, Device::emulated(), steps, 32, "sgd", 0.01f);
    for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], 1e-4) << name;
  }
}

}  // namespace
}  // namespace tapescope
