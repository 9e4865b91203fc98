#include "kernels/more_ops/upsample/reference.h"

#include <vector>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"
#include "kernels/more_ops/upsample/tap.h"

namespace tapescope::reference {
namespace {

// Calls f(n, p, q, h, w, weight) for each pixel (h, w) that output pixel (p, q) of image n reads.
template <class F>
void nearest_taps(const UpsampleShape& s, std::int64_t n, F&& f) {
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q) f(n, p, q, p * s.H / s.P, q * s.W / s.Q, 1.0);
  }
}

template <class F>
void bilinear_taps(const UpsampleShape& s, std::int64_t n, F&& f) {
  for (std::int64_t p = 0; p < s.P; ++p) {
    const LinearTap row = linear_tap(p, s.H, s.P);
    for (std::int64_t q = 0; q < s.Q; ++q) {
      const LinearTap column = linear_tap(q, s.W, s.Q);
      f(n, p, q, row.low, column.low, (1 - row.high_weight) * (1 - column.high_weight));
      f(n, p, q, row.low, column.high, (1 - row.high_weight) * column.high_weight);
      f(n, p, q, row.high, column.low, row.high_weight * (1 - column.high_weight));
      f(n, p, q, row.high, column.high, row.high_weight * column.high_weight);
    }
  }
}

// taps(shape, n, f) lists which input pixels make an output pixel. Forward reads along the list,
// the gradient adds against it; images one by one, summed in f64 or f32.
template <class Taps>
Plan resample(const UpsampleShape& s, bool gradient, Taps taps) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s, gradient, taps](const Queue&, const Buffers& b) {
      const T* from = static_cast<const T*>(b.in[0]);  // {N,H,W,C}, or {N,P,Q,C} for the gradient
      T* to = static_cast<T*>(b.out[0]);               // the other one
      const std::int64_t image = (gradient ? s.H * s.W : s.P * s.Q) * s.C;
      parallel_for(s.N, [&](std::int64_t n) {
        std::vector<double> sum(static_cast<std::size_t>(image), 0.0);
        taps(s, n,
             [&](std::int64_t, std::int64_t p, std::int64_t q, std::int64_t h, std::int64_t w,
                 double weight) {
               const std::int64_t small = (h * s.W + w) * s.C, large = (p * s.Q + q) * s.C;
               const T* source =
                   from + (gradient ? n * s.P * s.Q * s.C + large : n * s.H * s.W * s.C + small);
               double* target = sum.data() + (gradient ? small : large);
               for (std::int64_t c = 0; c < s.C; ++c) {
                 target[c] += weight * static_cast<double>(static_cast<Accumulator<T>>(source[c]));
               }
             });
        for (std::int64_t i = 0; i < image; ++i) {
          to[n * image + i] =
              static_cast<T>(static_cast<Accumulator<T>>(sum[static_cast<std::size_t>(i)]));
        }
      });
    });
  });
}

constexpr auto kNearest = [](const UpsampleShape& s, std::int64_t n, auto&& f) {
  nearest_taps(s, n, f);
};
constexpr auto kBilinear = [](const UpsampleShape& s, std::int64_t n, auto&& f) {
  bilinear_taps(s, n, f);
};

}  // namespace

Plan upsample_nearest(const UpsampleShape& s) { return resample(s, false, kNearest); }
Plan upsample_bilinear(const UpsampleShape& s) { return resample(s, false, kBilinear); }
Plan upsample_nearest_gradient(const UpsampleShape& s) { return resample(s, true, kNearest); }
Plan upsample_bilinear_gradient(const UpsampleShape& s) { return resample(s, true, kBilinear); }

}  // namespace tapescope::reference
