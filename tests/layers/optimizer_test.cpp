// Optimisers against loops written out in double precision, and batch norm's running statistics.
#include "layers/optimizers/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/program/program.h"
#include "engine/philox.h"
#include "layers/layers.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

using Values = std::vector<double>;

Values values_of(const ParameterRef& parameter) {
  Values values;
  for (std::int64_t i = 0; i < parameter->value.elements(); ++i) {
    values.push_back(parameter->value.item(i));
  }
  return values;
}

void expect_near(const ParameterRef& parameter, const Values& want, double tolerance = 1e-6) {
  ASSERT_EQ(parameter->value.elements(), static_cast<std::int64_t>(want.size()));
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(parameter->value.item(static_cast<std::int64_t>(i)), want[i],
                tolerance * (1 + std::abs(want[i])))
        << parameter->name << " " << i;
  }
}

ParameterRef parameter(std::string name, std::initializer_list<float> values,
                       Parameter::Kind kind) {
  return std::make_shared<Parameter>(
      std::move(name), Tensor::from<float>({static_cast<std::int64_t>(values.size())}, values),
      kind);
}

// loss = sum(c * w^2 / 2) + sum(b): gradients c * w and 1.
class Quadratic {
 public:
  explicit Quadratic(const OptimizerConfig& config) : optimizer(config) {
    Tape tape(Device::cpu(), Mode::training);
    const Var c = tape.constant(Tensor::from<float>({3}, {1, 10, -2}));
    const Var loss =
        add(sum(affine(mul(c, square(tape.parameter(weight))), 0.5)), sum(tape.parameter(bias)));
    const std::vector<ParameterRef> both = {weight, bias};
    const std::vector<Var> gradients = tape.gradient(loss, both);
    const Effects effects = optimizer.update(both, gradients);
    program = std::make_unique<Program>(tape.compile({loss, optimizer.gradient_norm()}, effects));
  }
  std::vector<Tensor> step(std::int64_t count, double rate) {
    return program->run({{"learning_rate", Tensor::scalar(static_cast<float>(rate))},
                         {"step", Tensor::scalar_i64(count)}});
  }

  ParameterRef weight = parameter("w", {1, -2, 0.5f}, Parameter::Kind::weight);
  ParameterRef bias = parameter("b", {0.25f, 3}, Parameter::Kind::bias);
  Optimizer optimizer;
  std::unique_ptr<Program> program;
};

constexpr double kCurvature[] = {1, 10, -2};
constexpr double kRates[] = {0.1, 0.05, 0.02, 0.1, 0.01};

// The gradients of Quadratic: three weights, then two biases.
Values gradient_at(const Values& x) {
  return {kCurvature[0] * x[0], kCurvature[1] * x[1], kCurvature[2] * x[2], 1, 1};
}
double decay_of(std::size_t i, double decay) { return i < 3 ? decay : 0; }

void compare(const Quadratic& net, const Values& x) {
  expect_near(net.weight, {x[0], x[1], x[2]});
  expect_near(net.bias, {x[3], x[4]});
}

TEST(Optimizer, SgdWithMomentumAndDecay) {
  for (const bool nesterov : {false, true}) {
    Quadratic net(
        {.name = "sgd", .weight_decay = 0.1, .sgd = {.momentum = 0.9, .nesterov = nesterov}});
    Values x = {1, -2, 0.5, 0.25, 3}, velocity(5, 0);
    for (std::int64_t t = 0; t < 5; ++t) {
      const Values g = gradient_at(x);
      for (std::size_t i = 0; i < 5; ++i) {
        const double d = g[i] + decay_of(i, 0.1) * x[i];
        velocity[i] = t == 0 ? d : 0.9 * velocity[i] + d;
        x[i] -= kRates[t] * (nesterov ? d + 0.9 * velocity[i] : velocity[i]);
      }
      net.step(t, kRates[t]);
      compare(net, x);
    }
    ASSERT_EQ(net.optimizer.states().size(), 2u);
    EXPECT_EQ(net.optimizer.states()[0]->name, "w.momentum");
    EXPECT_EQ(net.optimizer.states()[0]->kind, Parameter::Kind::state);
    expect_near(net.optimizer.states()[0], {velocity[0], velocity[1], velocity[2]}, 1e-5);
  }
}

TEST(Optimizer, AdamwCountsFromOneAndDecaysApart) {
  Quadratic net({.name = "adamw", .weight_decay = 0.1});
  Values x = {1, -2, 0.5, 0.25, 3}, m(5, 0), v(5, 0);
  for (std::int64_t t = 0; t < 5; ++t) {
    const Values g = gradient_at(x);
    const double rate = kRates[t];
    for (std::size_t i = 0; i < 5; ++i) {
      x[i] *= 1 - rate * decay_of(i, 0.1);
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      const double mean = m[i] / (1 - std::pow(0.9, t + 1));
      const double spread = std::sqrt(v[i] / (1 - std::pow(0.999, t + 1)));
      x[i] -= rate * mean / (spread + 1e-8);
    }
    net.step(t, rate);
    compare(net, x);
  }
  ASSERT_EQ(net.optimizer.states().size(), 4u);
  EXPECT_EQ(net.optimizer.states()[0]->name, "w.exp_avg");
  EXPECT_EQ(net.optimizer.states()[1]->name, "w.exp_avg_sq");
  EXPECT_EQ(net.optimizer.states()[3]->name, "b.exp_avg_sq");
}

TEST(Optimizer, ClipsTheNormOfAllGradientsTogether) {
  const double norm = std::sqrt(1.0 + 400 + 1 + 1 + 1);  // c * w = 1, -20, -1, and two ones
  for (const double clip : {2.0, 100.0}) {
    Quadratic net(
        {.name = "sgd", .weight_decay = 0, .sgd = {.momentum = 0}, .clip_gradient = clip});
    const std::vector<Tensor> out = net.step(0, 1);
    EXPECT_NEAR(out[1].item(), norm, 1e-5);
    const double factor = std::min(1.0, clip / norm);
    compare(net, {1 - factor, -2 + 20 * factor, 0.5 + factor, 0.25 - factor, 3 - factor});
  }
}

TEST(Optimizer, LeavesBuffersAndFrozenParametersAlone) {
  Module root;
  BatchNorm2d norm(root, "bn", 2);
  Conv2d conv(root, "conv", 2, 2, 1);
  conv.parameters()[1]->frozen = true;
  std::vector<ParameterRef> all = conv.parameters();
  for (const ParameterRef& p : norm.parameters()) all.push_back(p);
  const Values bias = values_of(all[1]);
  Tape tape(Device::cpu(), Mode::training);
  const Var image = tape.input("image", DType::f32, {2, 2, 2, 2});
  const Var loss = mean(square(sub(norm(conv(image)), image)));
  Optimizer optimizer({.name = "sgd"});
  const Effects effects = optimizer.update(all, tape.gradient(loss, all));
  Tensor pixels({DType::f32, {2, 2, 2, 2}});
  int k = 0;
  for (float& pixel : pixels.values<float>()) pixel = static_cast<float>(std::cos(1.7 * k++));
  const Values before = values_of(all[0]);
  tape.compile({loss}, effects).run({{"image", pixels}, {"learning_rate", Tensor::scalar(0.1f)}});
  EXPECT_NE(values_of(all[0]), before);
  EXPECT_EQ(values_of(all[1]), bias);
  EXPECT_EQ(all.back()->value.item(), 1);  // num_batches_tracked: batch norm's own effect
  EXPECT_EQ(optimizer.states().size(), 3u);

  for (const ParameterRef& p : all) p->frozen = true;
  Tape frozen(Device::cpu(), Mode::training);
  const Var again = mean(conv(frozen.input("image", DType::f32, {2, 2, 2, 2})));
  EXPECT_THROW(optimizer.update(all, frozen.gradient(again, all)), Error);
}

TEST(Optimizer, Errors) {
  EXPECT_THROW(Optimizer({.name = "adam"}), Error);
  EXPECT_THROW(Optimizer({.weight_decay = -1}), Error);
  EXPECT_THROW(Optimizer({.clip_gradient = std::nan("")}), Error);
  Tape tape(Device::cpu(), Mode::training);
  const std::vector<ParameterRef> one = {parameter("w", {1}, Parameter::Kind::weight)};
  EXPECT_THROW(Optimizer({}).update(one, {}), Error);
}

// --- batch norm ---

struct Moments {
  Values mean, biased, unbiased;
};
Moments moments(const Tensor& x) {  // {N, H, W, 2}
  Moments m{Values(2, 0), Values(2, 0), Values(2, 0)};
  const std::int64_t n = x.elements() / 2;
  for (std::size_t c = 0; c < 2; ++c) {
    const auto k = static_cast<std::int64_t>(c);
    for (std::int64_t i = 0; i < n; ++i) m.mean[c] += x.item(i * 2 + k) / static_cast<double>(n);
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) squares += std::pow(x.item(i * 2 + k) - m.mean[c], 2);
    m.biased[c] = squares / static_cast<double>(n);
    m.unbiased[c] = squares / static_cast<double>(n - 1);
  }
  return m;
}

Tensor wave(Shape shape, double phase) {
  Tensor x({DType::f32, shape});
  int k = 0;
  for (float& v : x.values<float>()) v = static_cast<float>(1 + std::sin(0.9 * k++ + phase));
  return x;
}

TEST(BatchNorm, RunningStatisticsAtAnyBatchSize) {
  Module root;
  BatchNorm2d norm(root, "bn", 2);
  Tape tape(Device::cpu(), Mode::training);
  const Var y = norm(tape.input("image", DType::f32, {3, 2, 3, 2}));
  Program program = tape.compile({y}, tape.effects());
  Values mean(2, 0), variance(2, 1);
  std::int64_t batches = 0;
  for (const std::int64_t rows : {3, 1, 5}) {
    const Tensor x = wave({rows, 2, 3, 2}, static_cast<double>(rows));
    const std::vector<Tensor> out = program.run({{"image", x}});
    const Moments m = moments(x);
    for (std::size_t c = 0; c < 2; ++c) {
      mean[c] = 0.9 * mean[c] + 0.1 * m.mean[c];
      variance[c] = 0.9 * variance[c] + 0.1 * m.unbiased[c];
      EXPECT_NEAR(
          out[0].item(static_cast<std::int64_t>(c)),
          (x.item(static_cast<std::int64_t>(c)) - m.mean[c]) / std::sqrt(m.biased[c] + 1e-5), 1e-5);
    }
    const auto parameters = norm.parameters();
    expect_near(parameters[2], mean);
    expect_near(parameters[3], variance);
    EXPECT_EQ(parameters[4]->value.item(), ++batches);
  }

  Tape look(Device::cpu(), Mode::evaluation);
  const Tensor x = wave({2, 1, 1, 2}, 0);
  const Var seen = norm(look.input("image", x));
  EXPECT_TRUE(look.effects().empty());
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto c = static_cast<std::size_t>(i % 2);
    EXPECT_NEAR(seen.value().item(i), (x.item(i) - mean[c]) / std::sqrt(variance[c] + 1e-5), 1e-5);
  }
}

TEST(BatchNorm, ReusedUpdatesTwiceInOrder) {
  Module root;
  BatchNorm2d norm(root, "bn", 2);
  Tape tape(Device::cpu(), Mode::training);
  const Tensor a = wave({2, 2, 2, 2}, 0), b = wave({4, 1, 3, 2}, 2);
  const Var first = norm(tape.input("a", DType::f32, a.shape()));
  const Var second = norm(tape.input("b", DType::f32, b.shape()));
  EXPECT_EQ(tape.effects().size(), 3u);  // one of each state, the last
  tape.compile({sum(first), sum(second)}, tape.effects()).run({{"a", a}, {"b", b}});
  const Moments ma = moments(a), mb = moments(b);
  Values mean, variance;
  for (std::size_t c = 0; c < 2; ++c) {
    mean.push_back(0.9 * (0.1 * ma.mean[c]) + 0.1 * mb.mean[c]);
    variance.push_back(0.9 * (0.9 + 0.1 * ma.unbiased[c]) + 0.1 * mb.unbiased[c]);
  }
  const auto parameters = norm.parameters();
  expect_near(parameters[2], mean);
  expect_near(parameters[3], variance);
  EXPECT_EQ(parameters[4]->value.item(), 2);
}

TEST(BatchNorm, OneValueHasNoUnbiasedVariance) {
  Module root;
  BatchNorm2d norm(root, "bn", 2);
  Tape tape(Device::cpu(), Mode::training);
  const Var y = norm(tape.input("image", DType::f32, {1, 1, 1, 2}));
  const std::vector<Tensor> out =
      tape.compile({y}, tape.effects()).run({{"image", wave({1, 1, 1, 2}, 0)}});
  EXPECT_EQ(out[0].item(0), 0);
  expect_near(norm.parameters()[3], {0.9, 0.9});
}

// All parameters in one launch, against a launch each: the same bits.
TEST(Optimizer, OneLaunchForAllParametersGivesTheSameBits) {
  for (const char* name : {"sgd", "adamw"}) {
    std::vector<Tensor> results[2];
    for (const bool join : {true, false}) {
      const auto model = make_model(
          {.name = "resnet20", .classes = 3, .channels = 1, .image_size = 8, .width = 0.25});
      move_to(Device::emulated(), model->parameters());
      Tape tape(Device::emulated(), Mode::training);
      const Var image = tape.input("image", DType::f32, {4, 8, 8, 1});
      const Var label = tape.input("label", DType::i64, {4});
      const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
      const std::vector<ParameterRef> parameters = model->trained_parameters();
      OptimizerConfig config;
      config.name = name;
      Optimizer optimizer(config);
      const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
      CompileOptions options;
      options.join_steps = join;
      const Var outputs[] = {loss};
      Program step = tape.compile(outputs, effects, options);
      int joined = 0;
      for (const StepInfo& info : step.steps())
        joined += info.variant.starts_with("one_launch for");
      EXPECT_EQ(joined, join ? 2 : 0);  // updates, and running statistics
      Tensor images({DType::f32, {4, 8, 8, 1}});
      PhiloxStream random(3);
      for (float& x : images.values<float>()) x = static_cast<float>(random.normal());
      for (std::int64_t t = 0; t < 3; ++t) {
        step.run({{"image", images},
                  {"label", Tensor::from<std::int64_t>({4}, {0, 1, 2, 1})},
                  {"learning_rate", Tensor::scalar(0.01f)},
                  {"step", Tensor::scalar_i64(t)}});
      }
      for (const ParameterRef& p : model->parameters()) results[join].push_back(p->value.host());
      for (const ParameterRef& p : optimizer.states()) results[join].push_back(p->value.host());
    }
    ASSERT_EQ(results[0].size(), results[1].size());
    for (std::size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_EQ(std::memcmp(results[0][i].data(), results[1][i].data(), results[0][i].bytes()), 0)
          << name << " " << i;
    }
  }
}

// Two states that change places: each assignment reads the other's old value.
TEST(Program, AssignmentsReadOldValues) {
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    const auto state = [&](const char* name, float value) {
      return std::make_shared<Parameter>(name, Tensor::full({DType::f32, {3}}, value, device),
                                         Parameter::Kind::buffer);
    };
    const ParameterRef a = state("a", 1), b = state("b", 2);
    Tape tape(device, Mode::training);
    const Var x = tape.input("x", DType::f32, {});
    const Effects effects = {tape.assign(a, tape.parameter(b)), tape.assign(b, tape.parameter(a))};
    Program swap = tape.compile({x}, effects);
    swap.run({{"x", Tensor::scalar(0)}});
    EXPECT_EQ(a->value.item(2), 2);
    EXPECT_EQ(b->value.item(2), 1);
  }
}

}  // namespace
}  // namespace tapescope
