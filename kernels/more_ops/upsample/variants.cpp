// Which resampling kernel runs where, best first.
#include <cstring>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"
#include "kernels/more_ops/cast/widened.h"
#include "kernels/more_ops/upsample/reference.h"
#include "kernels/more_ops/upsample/simd_plans.h"

namespace tapescope {
namespace {

constexpr DTypes kFloating{DType::f32, DType::f64, DType::bf16};

Plan nearest_by_rows(const UpsampleShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("runs", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // {N, H, W, C}
      T* y = static_cast<T*>(b.out[0]);             // {N, P, Q, C}
      const std::int64_t row = s.Q * s.C;
      const std::size_t bytes = static_cast<std::size_t>(row) * sizeof(T);
      // A chunk makes all output rows of one input row.
      parallel_for(s.N * s.H, [&](std::int64_t nh) {
        const std::int64_t n = nh / s.H, h = nh % s.H;
        const std::int64_t p0 = (h * s.P + s.H - 1) / s.H, p1 = ((h + 1) * s.P + s.H - 1) / s.H;
        if (p0 >= p1) return;
        T* first = y + (n * s.P + p0) * row;
        const T* from = x + nh * s.W * s.C;
        for (std::int64_t q = 0; q < s.Q; ++q) {
          const T* pixel = from + q * s.W / s.Q * s.C;
          for (std::int64_t c = 0; c < s.C; ++c) first[q * s.C + c] = pixel[c];
        }
        for (std::int64_t p = p0 + 1; p < p1; ++p) {
          if (row > 0) std::memcpy(first + (p - p0) * row, first, bytes);
        }
      });
    });
  });
}

constexpr Variant<UpsampleShape> reference_row(Plan (*prepare)(const UpsampleShape&)) {
  return {.name = "reference",
          .dtypes = kFloating,
          .note = "one element at a time; the oracle",
          .prepare = prepare};
}

// bf16 is resampled as f32; of a gradient the result is as large as x.
template <Plan (*f32)(const UpsampleShape&), bool gradient>
Plan widening(const UpsampleShape& s) {
  if (s.dtype == DType::f32) return f32(s);
  UpsampleShape wide = s;
  wide.dtype = DType::f32;
  const std::int64_t x = s.N * s.H * s.W * s.C, y = s.N * s.P * s.Q * s.C;
  return widened(f32(wide), {gradient ? y : x}, {gradient ? x : y});
}

constexpr Variant<UpsampleShape> simd_row(Plan (*prepare)(const UpsampleShape&)) {
  return {.name = "simd",
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = 2,
          .note = "a row at a time, channels in vectors; weights rounded to f32",
          .prepare = prepare,
          .supports = simd::supports_upsample};
}

template <bool gradient, Plan (*simd)(const UpsampleShape&),
          Plan (*reference)(const UpsampleShape&)>
Rows<UpsampleShape> simd_or_reference() {
  static constexpr Variant<UpsampleShape> rows[] = {simd_row(widening<simd, gradient>),
                                                    reference_row(reference)};
  return rows;
}

}  // namespace

namespace cpu {

Rows<UpsampleShape> upsample_nearest_variants() {
  static constexpr Variant<UpsampleShape> rows[] = {
      {.name = "runs",
       .dtypes = kFloating,
       .note = "pixels once per row, further rows copied",
       .prepare = nearest_by_rows},
      reference_row(reference::upsample_nearest),
  };
  return rows;
}

Rows<UpsampleShape> upsample_bilinear_variants() {
  return simd_or_reference<false, simd::upsample_bilinear, reference::upsample_bilinear>();
}

Rows<UpsampleShape> upsample_nearest_gradient_variants() {
  return simd_or_reference<true, simd::upsample_nearest_gradient,
                           reference::upsample_nearest_gradient>();
}

Rows<UpsampleShape> upsample_bilinear_gradient_variants() {
  return simd_or_reference<true, simd::upsample_bilinear_gradient,
                           reference::upsample_bilinear_gradient>();
}

}  // namespace cpu

}  // namespace tapescope
