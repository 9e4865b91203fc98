#include "bench/device/training_steps.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "autograd/program/program.h"
#include "engine/philox.h"
#include "engine/runtime.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

double seconds_of_a_step(Device device, const std::string& name, std::int64_t size,
                         std::int64_t channels, std::int64_t N, int steps) {
  const auto model =
      make_model({.name = name, .classes = 10, .channels = channels, .image_size = size});
  move_to(device, model->parameters());
  Tape tape(device, Mode::training);
  const Var image = tape.input("image", DType::f32, {N, size, size, channels});
  const Var label = tape.input("label", DType::i64, {N});
  const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
  const std::vector<ParameterRef> parameters = model->trained_parameters();
  Optimizer optimizer(OptimizerConfig{});
  const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
  CompileOptions options;
  options.keep_on_device = true;  // no step waits for the one before
  const Var outputs[] = {loss};
  Program step = tape.compile(outputs, effects, options);

  Tensor images({DType::f32, {N, size, size, channels}}), labels({DType::i64, {N}});
  PhiloxStream random(1);
  for (float& x : images.values<float>()) x = static_cast<float>(random.normal());
  for (std::int64_t& y : labels.values<std::int64_t>()) y = random.below(10);
  const std::vector<NamedTensor> inputs = {{"image", images.to(device)},
                                           {"label", labels.to(device)},
                                           {"learning_rate", Tensor::scalar(1e-4f).to(device)},
                                           {"step", Tensor::scalar_i64(0).to(device)}};
  DeviceRuntime& runtime = DeviceRuntime::of(device);
  double best = 1e30;
  step.run(inputs);
  for (int round = 0; round < 3; ++round) {
    runtime.wait(runtime.compute_queue());
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i) step.run(inputs);
    runtime.wait(runtime.compute_queue());
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
    best = std::min(best, spent.count() / steps);
  }
  return best;
}

}  // namespace

std::vector<StepTime> time_training_steps(Device device, bool quick) {
  std::vector<StepTime> times;
  const auto time = [&](const char* model, std::int64_t size, std::int64_t channels,
                        std::int64_t batch) {
    times.push_back({model, size, batch,
                     seconds_of_a_step(device, model, size, channels, batch, quick ? 1 : 20)});
    std::fprintf(stderr, "training step %-10s %4ld x %-4ld batch %-4ld %9.3f ms\n", model,
                 static_cast<long>(size), static_cast<long>(size), static_cast<long>(batch),
                 times.back().seconds * 1e3);
  };
  if (quick) {
    time("lenet", 28, 1, 2);
    return times;
  }
  time("lenet", 28, 1, 64);
  time("resnet20", 32, 3, 128);
  time("resnet18", 224, 3, 64);
  return times;
}

}  // namespace tapescope
