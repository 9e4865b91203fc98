// Reductions and broadcasts: bytes per second for the axis sets that training uses.
#include "bench/kernels/kernel_bench.h"
#include "kernels/reduce/reduce.h"

namespace tapescope {
namespace {

void reduce(benchmark::State& state, const Shape& in, std::uint32_t axes, Reduction op,
            const char* variant) {
  const ReduceShape shape{DType::f32, op, in, axes};
  bench::measure(state, bench::prepare(reduce_variants(), variant, shape), {in.elements()},
                 {shape.out().elements()});
}

void broadcast(benchmark::State& state, const Shape& in, const Shape& out) {
  bench::measure(state,
                 bench::prepare(broadcast_like_variants(), "simd", {DType::f32, in, out, 0.5}),
                 {in.elements()}, {out.elements()});
}

const Shape kImages{16, 128, 128, 64};

BENCHMARK_CAPTURE(reduce, all, kImages, 15, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, bias_64, kImages, 7, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, bias_64_cached, Shape{256, 64}, 1, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, bias_10, Shape{1600000, 10}, 1, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, bias_1000, Shape{16000, 1000}, 1, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, spatial_64, kImages, 6, Reduction::mean, "simd");
BENCHMARK_CAPTURE(reduce, spatial_64_small, Shape{64, 8, 8, 64}, 6, Reduction::mean, "simd");
BENCHMARK_CAPTURE(reduce, last_10, Shape{1600000, 10}, 2, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, last_1000, Shape{16000, 1000}, 2, Reduction::sum, "simd");
BENCHMARK_CAPTURE(reduce, max_all, kImages, 15, Reduction::max, "simd");
BENCHMARK_CAPTURE(broadcast, n11c, Shape{16, 1, 1, 64}, kImages);
BENCHMARK_CAPTURE(broadcast, scalar, Shape{}, kImages);
BENCHMARK_CAPTURE(broadcast, nhw1, Shape{16, 128, 128, 1}, kImages);

}  // namespace
}  // namespace tapescope
