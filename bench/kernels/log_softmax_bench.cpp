// Softmax kernels: few classes, many classes, per-pixel classes.
#include "bench/kernels/kernel_bench.h"
#include "kernels/log_softmax/log_softmax.h"

namespace tapescope {
namespace {

void softmax(benchmark::State& state, const Variants<SoftmaxShape>& table, int operands,
             const char* variant) {
  const SoftmaxShape shape{DType::f32, state.range(0), state.range(1)};
  const std::int64_t n = shape.rows * shape.C;
  bench::measure(state, bench::prepare(table, variant, shape),
                 std::vector<std::int64_t>(static_cast<std::size_t>(operands), n), {n});
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({128, 10})->Args({16, 1000})->Args({100000, 21});
}

BENCHMARK_CAPTURE(softmax, log_softmax_simd, log_softmax_variants(), 1, "simd")->Apply(sizes);
BENCHMARK_CAPTURE(softmax, log_softmax_reference, log_softmax_variants(), 1, "reference")
    ->Apply(sizes);
BENCHMARK_CAPTURE(softmax, softmax_simd, softmax_variants(), 1, "simd")->Apply(sizes);
BENCHMARK_CAPTURE(softmax, log_softmax_gradient_simd, log_softmax_gradient_variants(), 2, "simd")
    ->Apply(sizes);

}  // namespace
}  // namespace tapescope
