#include "kernels/layout/reference.h"

#include <vector>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"
#include "kernels/layout/element.h"

namespace tapescope::reference {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work

// Calls f(i, position) for every element i of a tensor of this shape, with its position per axis.
template <class F>
void for_each_position(const Shape& shape, F&& f) {
  parallel_ranges(shape.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    Extents position{};
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t rest = i;
      for (int axis = shape.rank() - 1; axis >= 0; --axis) {
        position[static_cast<std::size_t>(axis)] = rest % shape[axis];
        rest /= shape[axis];
      }
      f(i, position);
    }
  });
}

// Row-major index of a position; -1 outside the shape.
std::int64_t index_of(const Shape& shape, const Extents& position) {
  std::int64_t index = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const std::int64_t at = position[static_cast<std::size_t>(axis)];
    if (at < 0 || at >= shape[axis]) return -1;
    index = index * shape[axis] + at;
  }
  return index;
}

}  // namespace

Plan pad(const PadShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      const T value = element_of<T>(s.dtype, s.value);
      for_each_position(s.out(), [&](std::int64_t i, Extents position) {
        for (std::size_t a = 0; a < position.size(); ++a) position[a] -= s.before[a];
        const std::int64_t source = index_of(s.in, position);
        y[i] = source < 0 ? value : x[source];
      });
    });
  });
}

Plan slice(const SliceShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      for_each_position(s.out(), [&](std::int64_t i, Extents position) {
        for (std::size_t a = 0; a < position.size(); ++a) position[a] += s.start[a];
        y[i] = x[index_of(s.in, position)];
      });
    });
  });
}

Plan concat(const ConcatShape& s) {
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    std::vector<std::int64_t> extents(s.extents.begin(), s.extents.end());
    return Plan("reference", 0,
                [extents = std::move(extents), outer = s.outer, inner = s.inner](const Queue&,
                                                                                 const Buffers& b) {
                  T* y = static_cast<T*>(b.out[0]);  // {outer, sum of extents, inner}
                  for (std::int64_t o = 0; o < outer; ++o) {
                    for (std::size_t k = 0; k < extents.size(); ++k) {
                      const std::int64_t run = extents[k] * inner;
                      const T* x = static_cast<const T*>(b.in[k]) + o * run;
                      for (std::int64_t i = 0; i < run; ++i) *y++ = x[i];
                    }
                  }
                });
  });
}

Plan transpose(const TransposeShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      for_each_position(s.out(), [&](std::int64_t i, const Extents& position) {
        Extents source{};
        for (int a = 0; a < s.in.rank(); ++a) {
          const auto axis = static_cast<std::size_t>(a);
          source[s.permutation[axis]] = position[axis];
        }
        y[i] = x[index_of(s.in, source)];
      });
    });
  });
}

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
