// Explanations of one picture, each in turns with a forward pass: `time/forward` is what a map
// costs in time, `macs/forward` in multiply-adds. The two differ by what is not multiply-adds and
// by how fast the gradient's kernels are beside the forward ones.
#include <benchmark/benchmark.h>

#include <chrono>

#include "autograd/explain/explainer.h"
#include "engine/philox.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

void explanation(benchmark::State& state, const char* name, std::int64_t side, const char* method) {
  const auto model = make_model({.name = name, .classes = 1000, .channels = 3, .image_size = side});
  explain::Explainer explainer(
      [&](Tape&, Var image) {
        return (*model)({{"image", image}}).at("logits");
      },
      {side, side, 3});
  Tensor image({DType::f32, {1, side, side, 3}});
  PhiloxStream random(1);
  for (float& v : image.values<float>()) v = static_cast<float>(random.normal());
  const Tensor label = Tensor::from<std::int64_t>({1}, {3});
  explain::ExplainOptions options;
  options.budget = 50;
  const std::string_view what = method;
  if (what == "occlusion") options.window = 16, options.stride = 8, options.budget = 729;
  // All 51 steps and all 50 draws, of two forward passes each.
  if (what == "integrated-gradients" || what == "smoothgrad") options.budget = 200;
  explainer.logits(image);  // records and compiles
  double cost = explainer.explain(method, image, label, options).forward_passes;
  using Clock = std::chrono::steady_clock;
  double forward = 0, explained = 0;
  for (auto _ : state) {
    const auto began = Clock::now();
    benchmark::DoNotOptimize(explainer.logits(image));
    const auto between = Clock::now();
    benchmark::DoNotOptimize(explainer.explain(method, image, label, options));
    forward += std::chrono::duration<double>(between - began).count();
    const double seconds = std::chrono::duration<double>(Clock::now() - between).count();
    explained += seconds;
    state.SetIterationTime(seconds);
  }
  state.counters["forward_ms"] = 1e3 * forward / static_cast<double>(state.iterations());
  state.counters["time/forward"] = explained / forward;
  state.counters["macs/forward"] = cost;
}

void methods(const char* model, std::int64_t side) {
  for (const char* method :
       {"saliency", "input-x-gradient", "grad-cam", "guided-backprop", "deeplift", "lrp-epsilon",
        "lrp-epsilon-plus", "lrp-epsilon-gamma-box", "excitation-backprop", "fullgrad",
        "integrated-gradients", "smoothgrad", "occlusion", "rise"}) {
    benchmark::RegisterBenchmark(
        fmt::format("explain_{}_{}/{}", model, side, method).c_str(),
        [=](benchmark::State& state) { explanation(state, model, side, method); })
        ->Unit(benchmark::kMillisecond)
        ->UseManualTime()
        ->MinTime(2);
  }
}

const bool registered = [] {
  methods("resnet18", 224);
  return true;
}();

}  // namespace
}  // namespace tapescope
