// Whole training steps: forward, gradient, optimiser. The second number of a name is that of the
// pieces that sums over the batch are made of: 4 as `train` has it, 1 for what that costs. Reports images/s, the share of the step spent
// outside kernels, and the memory planned.
#include <benchmark/benchmark.h>

#include <chrono>
#include <numeric>

#include "autograd/program/program.h"
#include "engine/philox.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

void train_step(benchmark::State& state, const char* name, std::int64_t size, std::int64_t channels,
                DType precision = DType::f32) {
  const std::int64_t N = state.range(0);
  const auto model =
      make_model({.name = name, .classes = 10, .channels = channels, .image_size = size});
  Tape tape(Device::cpu(), Mode::training, {.precision = precision});
  const Var image = tape.input("image", DType::f32, {N, size, size, channels});
  const Var label = tape.input("label", DType::i64, {N});
  const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
  const std::vector<ParameterRef> parameters = model->trained_parameters();
  Optimizer optimizer(OptimizerConfig{});
  const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
  const auto chunks = static_cast<int>(state.range(1));
  Program step = tape.compile(std::vector{loss}, effects, {.chunks = chunks});

  Tensor images({DType::f32, {N, size, size, channels}}), labels({DType::i64, {N}});
  PhiloxStream random(1);
  for (float& x : images.values<float>()) x = static_cast<float>(random.normal());
  for (std::int64_t& y : labels.values<std::int64_t>()) y = random.below(10);
  const std::vector<NamedTensor> inputs = {{"image", images},
                                           {"label", labels},
                                           {"learning_rate", Tensor::scalar(1e-4f)},
                                           {"step", Tensor::scalar_i64(0)}};
  step.run(inputs);
  std::vector<double> seconds(step.steps().size(), 0.0);
  const auto observe = [&](const ObservedStep& observed) {
    seconds[observed.index] += observed.seconds;
    return true;
  };
  double wall = 0;
  for (auto _ : state) {
    const auto began = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(step.run(inputs, observe));
    wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
  const double kernels = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  state.counters["images/s"] =
      benchmark::Counter(static_cast<double>(N * state.iterations()), benchmark::Counter::kIsRate);
  state.counters["outside_kernels_%"] = 100 * (1 - kernels / wall);
  state.counters["planned_MB"] = static_cast<double>(step.plan().total()) / 1e6;
}

#define TRAIN_STEP(label, batch, ...)                                   \
  BENCHMARK_CAPTURE(train_step, label, __VA_ARGS__)                     \
      ->Args({batch, 4})                                                \
      ->Args({batch, 1})                                                \
      ->Unit(benchmark::kMillisecond)                                   \
      ->UseRealTime();                                                  \
  BENCHMARK_CAPTURE(train_step, label##_bf16, __VA_ARGS__, DType::bf16) \
      ->Args({batch, 4})                                                \
      ->Unit(benchmark::kMillisecond)                                   \
      ->UseRealTime();
TRAIN_STEP(lenet_28, 64, "lenet", 28, 1)
TRAIN_STEP(resnet20_32, 128, "resnet20", 32, 3)
TRAIN_STEP(resnet18_32, 64, "resnet18", 32, 3)
TRAIN_STEP(resnet18_224, 16, "resnet18", 224, 3)
TRAIN_STEP(seednet_32, 16, "seednet", 32, 3)
TRAIN_STEP(mobilenet_v2_224, 16, "mobilenet_v2", 224, 3)

}  // namespace
}  // namespace tapescope
