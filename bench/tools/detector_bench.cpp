// The detector on one picture of 320x240: milliseconds of the forward pass, and how much of it its
// convolutions' kernels take: what is left is all that a forward pass of this net could still save
// without faster convolutions. `GFLOP/s` counts two operations a multiply-add of the direct
// convolution, so that Winograd's may exceed the processor's peak.
#include <benchmark/benchmark.h>

#include <chrono>

#include "autograd/op.h"
#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "tools/detection/detection_task.h"

namespace tapescope::detection {
namespace {

void detector(benchmark::State& state) {
  const int before = thread_count();
  set_thread_count(static_cast<int>(state.range(0)));
  CentreDetector model({.classes = {"Platelets", "RBC", "WBC"}});
  const DetectorConfig& config = model.config();
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", DType::f32, {1, config.height, config.width, 3});
  const Var predictions = DetectionTask(config, nullptr).predictions(model({{"image", image}}));
  Program program = tape.compile(std::vector{predictions}, {}, {.keep_fixed = true});
  Tensor input({DType::f32, {1, config.height, config.width, 3}});
  PhiloxStream random(1);
  for (float& v : input.values<float>()) v = static_cast<float>(random.normal());
  program.run({{"image", input}});
  const std::vector<StepInfo> steps = program.steps();
  std::vector<double> seconds(steps.size(), 0.0);
  const auto observe = [&](const ObservedStep& observed) {
    seconds[observed.index] += observed.seconds;
    return true;
  };
  const NamedTensor inputs[] = {{"image", input}};
  double wall = 0;
  for (auto _ : state) {
    const auto began = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(program.run(inputs, observe));
    wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
  double in_convolutions = 0, flops = 0;
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    const StepInfo& step = steps[i];
    if (step.op->name() != "conv2d") continue;
    in_convolutions += seconds[i];
    flops += step.op->cost(step.operands, step.outputs).flops;
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["convolutions_ms"] = 1e3 * in_convolutions / runs;
  state.counters["convolutions_%"] = 100 * in_convolutions / wall;
  state.counters["GFLOP/s"] = 1e-9 * flops * runs / wall;
  set_thread_count(before);
}

BENCHMARK(detector)
    ->ArgName("threads")
    ->Arg(1)
    ->Arg(2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->MinTime(2);

}  // namespace
}  // namespace tapescope::detection
