// Layout kernels: bytes read and written per second.
#include "bench/kernels/kernel_bench.h"
#include "kernels/layout/layout.h"
#include "kernels/more_ops/upsample/upsample.h"

namespace tapescope {
namespace {

void transpose(benchmark::State& state, const Shape& in,
               std::array<std::uint8_t, Shape::kMaxRank> permutation, const char* variant) {
  bench::measure(state,
                 bench::prepare(transpose_variants(), variant, {DType::f32, in, permutation}),
                 {in.elements()}, {in.elements()});
}
void pad(benchmark::State& state, const Shape& in) {
  const PadShape s{DType::f32, in, {0, 1, 1}, {0, 1, 1}, 0};
  bench::measure(state, bench::prepare(pad_variants(), "runs", s), {in.elements()},
                 {s.out().elements()});
}
void upsample(benchmark::State& state, const Variants<UpsampleShape>& table, const UpsampleShape& s,
              bool gradient) {
  const std::int64_t small = s.N * s.H * s.W * s.C, large = s.N * s.P * s.Q * s.C;
  bench::measure(state, prepare_from(table, s, DType::f32, Backend{}), {gradient ? large : small},
                 {gradient ? small : large});
}

const Shape kImages{16, 56, 56, 64};
const UpsampleShape kDouble{DType::f32, 16, 28, 28, 64, 56, 56};
const UpsampleShape kMap{DType::f32, 16, 7, 7, 1, 224, 224};

BENCHMARK_CAPTURE(transpose, nhwc_to_nchw, kImages, {0, 3, 1, 2}, "runs");
BENCHMARK_CAPTURE(transpose, nchw_to_nhwc, Shape{16, 64, 56, 56}, {0, 2, 3, 1}, "runs");
BENCHMARK_CAPTURE(transpose, matrix, Shape{2048, 2048}, {1, 0}, "runs");
BENCHMARK_CAPTURE(transpose, nhwc_to_nchw_reference, kImages, {0, 3, 1, 2}, "reference");
BENCHMARK_CAPTURE(pad, images, kImages);
BENCHMARK_CAPTURE(pad, colours, Shape{16, 224, 224, 3});
BENCHMARK_CAPTURE(upsample, nearest, upsample_nearest_variants(), kDouble, false);
BENCHMARK_CAPTURE(upsample, nearest_gradient, upsample_nearest_gradient_variants(), kDouble, true);
BENCHMARK_CAPTURE(upsample, bilinear, upsample_bilinear_variants(), kDouble, false);
BENCHMARK_CAPTURE(upsample, bilinear_gradient, upsample_bilinear_gradient_variants(), kDouble,
                  true);
BENCHMARK_CAPTURE(upsample, bilinear_map, upsample_bilinear_variants(), kMap, false);

}  // namespace
}  // namespace tapescope
