// A small residual net against what PyTorch computed for it (tests/fixtures/make_layers.py).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "autograd/program/program.h"
#include "layers/layers.h"
#include "layers/losses.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

class TinyNet final : public Classifier {
 public:
  TinyNet() : Classifier({.name = "tiny", .classes = 3, .channels = 2, .image_size = 5}) {
    layer1_.append<BasicBlock>(3, 4, 2);
    int i = 0;
    for (const ParameterRef& parameter : trained_parameters()) {
      const bool norm_scale =
          parameter->value.shape().rank() == 1 && parameter->name.ends_with("weight");
      fill(parameter->value, 0.3, 0.7 * i++, norm_scale ? 1.0f : 0.0f);
    }
  }
  Var logits(Var x) const override {
    return fc_(global_avg_pool2d(layer1_(relu(bn1_(conv1_(x))))));
  }
  static void fill(Tensor& tensor, double scale, double phase, float offset) {
    double k = 0;
    for (float& value : tensor.values<float>()) {
      value = offset + static_cast<float>(scale * std::sin(1.3 * k * (1 + 0.01 * k) + phase));
      ++k;
    }
  }

 private:
  Conv2d conv1_{*this, "conv1", 2, 3, 3, {.padding = 1, .bias = false}};
  BatchNorm2d bn1_{*this, "bn1", 3};
  Sequential layer1_{*this, "layer1"};
  Linear fc_{*this, "fc", 4, 3};
};

using Fixture = std::map<std::string, std::vector<double>>;  // names that come twice are appended

Fixture read_fixture() {
  Fixture fixture;
  std::ifstream file(std::filesystem::path(TAPESCOPE_SOURCE_DIR) /
                     "tests/fixtures/layers/tiny_net.txt");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::size_t count = 0;
    words >> name >> count;
    for (double value; count > 0 && words >> value; --count) fixture[name].push_back(value);
  }
  return fixture;
}

void compare(const std::string& name, const Tensor& got, const std::vector<double>& want,
             double tolerance) {
  ASSERT_EQ(got.elements(), static_cast<std::int64_t>(want.size())) << name;
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got.item(static_cast<std::int64_t>(i)), want[i],
                tolerance * (1 + std::abs(want[i])))
        << name << " " << i;
  }
}

struct Training {
  std::string name;
  OptimizerConfig config;
  float rate;
};

class PyTorch : public testing::TestWithParam<Training> {};

TEST_P(PyTorch, TwoStepsAgree) {
  const Training& run = GetParam();
  Fixture fixture = read_fixture();
  ASSERT_FALSE(fixture.empty());
  TinyNet net;
  Tensor pixels({DType::f32, {4, 5, 5, 2}});
  TinyNet::fill(pixels, 1, 0.2, 0);

  Tape tape(Device::cpu(), Mode::training);
  const Var image = tape.input("image", DType::f32, pixels.shape());
  const Var label = tape.input("label", DType::i64, {4});
  const Var logits = net({{"image", image}}).at("logits");
  const Var loss = mean(cross_entropy(logits, label, 0.1));
  const std::vector<ParameterRef> parameters = net.parameters();
  const std::vector<ParameterRef> trained = net.trained_parameters();
  std::vector<Var> outputs = tape.gradient(loss, trained);
  Optimizer optimizer(run.config);
  const Effects effects = optimizer.update(trained, outputs);
  outputs.insert(outputs.end(), {logits, loss, optimizer.gradient_norm()});
  Program program = tape.compile(outputs, effects);
  for (std::int64_t step = 0; step < 2; ++step) {
    const std::vector<Tensor> out =
        program.run({{"image", pixels},
                     {"label", Tensor::from<std::int64_t>({4}, {0, 2, 1, 2})},
                     {"learning_rate", Tensor::scalar(run.rate)},
                     {"step", Tensor::scalar_i64(step)}});
    const std::size_t n = trained.size();
    if (run.config.clip_gradient > 0) {
      EXPECT_NEAR(out[n + 2].item(), fixture[run.name + "/norm"][static_cast<std::size_t>(step)],
                  1e-5);
    }
    if (step > 0) continue;
    compare("logits", out[n], fixture["logits"], 2e-6);
    compare("loss", out[n + 1], fixture["loss"], 2e-6);
    for (std::size_t i = 0; i < n; ++i) {
      compare(trained[i]->name, out[i], fixture["gradient/" + trained[i]->name], 3e-6);
    }
  }
  for (const ParameterRef& parameter : parameters) {
    compare(parameter->name, parameter->value, fixture[run.name + "/" + parameter->name], 2e-5);
  }
  Tape look(Device::cpu(), Mode::evaluation);
  const Var seen = net({{"image", look.input("image", pixels)}}).at("logits");
  compare("evaluation", seen.value(), fixture[run.name + "/evaluation"], 5e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, PyTorch,
    testing::Values(
        Training{"sgd", {.name = "sgd", .weight_decay = 0.01}, 0.1f},
        Training{
            "nesterov",
            {.name = "sgd", .weight_decay = 0.01, .sgd = {.nesterov = true}, .clip_gradient = 0.25},
            0.1f},
        Training{"adamw", {.name = "adamw", .weight_decay = 0.1}, 0.01f}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tapescope
