// Batch normalisation: bytes counted once for each tensor, though statistics need a second read.
#include "bench/kernels/kernel_bench.h"
#include "kernels/batch_norm/batch_norm.h"

namespace tapescope {
namespace {

void training(benchmark::State& state, const char* variant) {
  const BatchNormShape s{DType::f32, state.range(0), state.range(1), 1e-5};
  bench::measure(state, bench::prepare(batch_norm_training_variants(), variant, s),
                 {s.rows * s.C, s.C, s.C}, {s.rows * s.C, s.C, s.C});
}
void inference(benchmark::State& state, const char* variant) {
  const BatchNormShape s{DType::f32, state.range(0), state.range(1), 1e-5};
  bench::measure(state, bench::prepare(batch_norm_inference_variants(), variant, s),
                 {s.rows * s.C, s.C, s.C, s.C, s.C}, {s.rows * s.C});
}
void gradient(benchmark::State& state, const char* variant) {
  const BatchNormShape s{DType::f32, state.range(0), state.range(1), 1e-5};
  bench::measure(state, bench::prepare(batch_norm_gradient_variants(), variant, s),
                 {s.rows * s.C, s.rows * s.C, s.C, s.C, s.C}, {s.rows * s.C, s.C, s.C});
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({16 * 128 * 128, 64})->Args({128 * 32 * 32, 16})->Args({1024, 64});
}

BENCHMARK_CAPTURE(training, simd, "simd")->Apply(sizes);
BENCHMARK_CAPTURE(training, reference, "reference")->Args({1024, 64});
BENCHMARK_CAPTURE(inference, simd, "simd")->Apply(sizes);
BENCHMARK_CAPTURE(gradient, simd, "simd")->Apply(sizes);

}  // namespace
}  // namespace tapescope
