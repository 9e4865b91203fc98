// Element-wise kernels: bytes per second from cache-sized and memory-sized tensors, and the cost
// of preparing and running a tiny one.
#include "bench/kernels/kernel_bench.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

void unary(benchmark::State& state, Unary function, const char* variant) {
  const std::int64_t n = state.range(0);
  bench::measure(state,
                 bench::prepare(unary_variants(), variant, {DType::f32, function, n, 0.1, 0.5}),
                 {n}, {n});
}

void binary(benchmark::State& state, Binary function, const Shape& a, const Shape& b,
            const char* variant) {
  const BinaryShape shape{DType::f32, function, a, b, 0.1, 0.5};
  bench::measure(state, bench::prepare(binary_variants(), variant, shape),
                 {a.elements(), b.elements()}, {shape.out().elements()});
}

void prepare_add(benchmark::State& state) {
  const Backend backend;
  const BinaryShape shape{DType::f32, Binary::add, {16, 8}, {16, 8}, 0, 0};
  for (auto _ : state) {
    Plan plan = prepare_from(binary_variants(), shape, DType::f32, backend);
    benchmark::DoNotOptimize(plan);
  }
}

void prepare_add_bias(benchmark::State& state) {
  const Backend backend;
  const BinaryShape shape{DType::f32, Binary::add, {16, 8, 8, 64}, {64}, 0, 0};
  for (auto _ : state) {
    Plan plan = prepare_from(binary_variants(), shape, DType::f32, backend);
    benchmark::DoNotOptimize(plan);
  }
}

constexpr std::int64_t kSmall = 16 * 1024, kLarge = 16 * 1024 * 1024;

BENCHMARK_CAPTURE(unary, relu_simd, Unary::relu, "simd")->Arg(16)->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(unary, exp_simd, Unary::exp, "simd")->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(unary, exp_reference, Unary::exp, "reference")->Arg(kSmall);
BENCHMARK_CAPTURE(unary, log_simd, Unary::log, "simd")->Arg(kSmall);
BENCHMARK_CAPTURE(unary, tanh_simd, Unary::tanh, "simd")->Arg(kSmall);
BENCHMARK_CAPTURE(unary, sigmoid_simd, Unary::sigmoid, "simd")->Arg(kSmall);
BENCHMARK_CAPTURE(unary, gelu_simd, Unary::gelu, "simd")->Arg(kSmall)->Arg(kLarge);
BENCHMARK_CAPTURE(unary, gelu_reference, Unary::gelu, "reference")->Arg(kSmall);
BENCHMARK_CAPTURE(unary, softplus_simd, Unary::softplus, "simd")->Arg(kSmall);
BENCHMARK_CAPTURE(binary, add_simd, Binary::add, Shape{kSmall}, Shape{kSmall}, "simd");
BENCHMARK_CAPTURE(binary, add_simd_large, Binary::add, Shape{kLarge}, Shape{kLarge}, "simd");
BENCHMARK_CAPTURE(binary, relu_vjp_large, Binary::mask_positive, Shape{kLarge}, Shape{kLarge},
                  "simd");
BENCHMARK_CAPTURE(binary, add_scalar, Binary::add, Shape{kSmall}, Shape{}, "simd");
BENCHMARK_CAPTURE(binary, add_bias_10, Binary::add, Shape{1600, 10}, Shape{10}, "simd");
BENCHMARK_CAPTURE(binary, add_bias_64, Binary::add, Shape{256, 64}, Shape{64}, "simd");
BENCHMARK_CAPTURE(binary, add_bias_64_large, Binary::add, Shape{16, 128, 128, 64}, Shape{64},
                  "simd");
BENCHMARK_CAPTURE(binary, mul_n11c, Binary::mul, Shape{16, 128, 128, 64}, Shape{16, 1, 1, 64},
                  "simd");
BENCHMARK_CAPTURE(binary, mul_nhw1, Binary::mul, Shape{16, 128, 128, 64}, Shape{16, 128, 128, 1},
                  "simd");
BENCHMARK(prepare_add);
BENCHMARK(prepare_add_bias);

}  // namespace
}  // namespace tapescope
