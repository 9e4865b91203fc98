#include "kernels/conv2d/conv2d.h"

#include "bench/kernels/kernel_bench.h"

namespace tapescope {
namespace {

Conv2dShape shape_of(const benchmark::State& state) {
  Conv2dShape c;
  c.N = state.range(0), c.I = state.range(1), c.O = state.range(2);
  c.H = c.W = state.range(3);
  c.KH = c.KW = state.range(4);
  c.stride_h = c.stride_w = state.range(5);
  c.pad_h = c.pad_w = c.KH / 2;
  return c;
}

void measure(benchmark::State& state, const Variants<Conv2dShape>& table, const char* variant,
             int in0, int in1, int out) {
  const Conv2dShape c = shape_of(state);
  const std::int64_t elements[] = {c.N * c.H * c.W * c.I, c.O * c.KH * c.KW * c.I,
                                   c.N * c.P() * c.Q() * c.O};
  Plan plan;
  try {
    plan = bench::prepare(table, variant, c);
  } catch (const Error& error) {
    state.SkipWithError("not for this shape");
    return;
  }
  bench::measure(state, plan, {elements[in0], elements[in1]}, {elements[out]});
  state.counters["FLOP/s"] = benchmark::Counter(
      2 * c.macs() * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
void conv2d_forward(benchmark::State& state, const char* variant) {
  measure(state, conv2d_variants(), variant, 0, 1, 2);
}
void conv2d_data_gradient(benchmark::State& state, const char* variant) {
  measure(state, conv2d_data_gradient_variants(), variant, 2, 1, 0);
}
void conv2d_weight_gradient(benchmark::State& state, const char* variant) {
  measure(state, conv2d_weight_gradient_variants(), variant, 0, 2, 1);
}

// Layers of small nets on MNIST and CIFAR, of ResNet-18, and a first layer on few channels.
void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "I", "O", "H", "K", "stride"});
  b->Args({64, 1, 32, 28, 3, 1})->Args({64, 3, 32, 32, 3, 1})->Args({8, 3, 64, 224, 7, 2});
  b->Args({64, 16, 16, 32, 3, 1})->Args({64, 32, 32, 32, 3, 1})->Args({64, 32, 64, 14, 3, 1});
  b->Args({64, 64, 64, 16, 3, 1})->Args({64, 128, 128, 8, 3, 1});
  b->Args({8, 64, 64, 56, 3, 1})->Args({8, 128, 128, 28, 3, 1});
  b->Args({8, 256, 256, 14, 3, 1})->Args({8, 512, 512, 7, 3, 1});
  b->Args({8, 64, 128, 56, 3, 2})->Args({8, 64, 256, 56, 1, 1})->Args({64, 6, 16, 14, 5, 1});
  b->MeasureProcessCPUTime();
}
// Only shapes that stay bearable in the textbook's loops.
void small_shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "I", "O", "H", "K", "stride"});
  b->Args({2, 3, 32, 32, 3, 1})->Args({2, 32, 32, 32, 3, 1})->MeasureProcessCPUTime();
}
BENCHMARK_CAPTURE(conv2d_forward, winograd, "winograd")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_data_gradient, winograd, "winograd")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_weight_gradient, winograd, "winograd")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_data_gradient, few_channels, "few_channels")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_forward, onednn, "onednn")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_data_gradient, onednn, "onednn")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_weight_gradient, onednn, "onednn")->Apply(shapes);
BENCHMARK_CAPTURE(conv2d_forward, reference, "reference")->Apply(small_shapes);
BENCHMARK_CAPTURE(conv2d_data_gradient, reference, "reference")->Apply(small_shapes);
BENCHMARK_CAPTURE(conv2d_weight_gradient, reference, "reference")->Apply(small_shapes);

}  // namespace
}  // namespace tapescope
