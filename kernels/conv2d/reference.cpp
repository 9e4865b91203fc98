#include "kernels/conv2d/reference.h"

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// Calls f(p, h) for each output row p and the input row h that kernel row r reads, where inside.
template <class F>
void for_rows(std::int64_t r, std::int64_t rows_out, std::int64_t rows_in, std::int64_t stride,
              std::int64_t pad, std::int64_t dilation, F&& f) {
  for (std::int64_t p = 0; p < rows_out; ++p) {
    const std::int64_t h = p * stride - pad + r * dilation;
    if (h >= 0 && h < rows_in) f(p, h);
  }
}

template <class T>
void forward(const Conv2dShape& c, const T* x, const T* w, const Accumulator<T>* bias, T* y) {
  using A = Accumulator<T>;
  const std::int64_t P = c.P(), Q = c.Q(), I = c.I / c.groups, O = c.O / c.groups;
  parallel_for(c.N * P, [&](std::int64_t np) {
    const std::int64_t n = np / P, p = np % P;
    for (std::int64_t q = 0; q < Q; ++q) {
      for (std::int64_t o = 0; o < c.O; ++o) {
        const std::int64_t first = o / O * I;  // first input channel of this group
        A sum = bias != nullptr ? bias[o] : A(0);
        for (std::int64_t r = 0; r < c.KH; ++r) {
          const std::int64_t h = p * c.stride_h - c.pad_h + r * c.dilation_h;
          if (h < 0 || h >= c.H) continue;
          for (std::int64_t s = 0; s < c.KW; ++s) {
            const std::int64_t v = q * c.stride_w - c.pad_w + s * c.dilation_w;
            if (v < 0 || v >= c.W) continue;
            for (std::int64_t i = 0; i < I; ++i) {
              sum += static_cast<A>(x[((n * c.H + h) * c.W + v) * c.I + first + i]) *
                     static_cast<A>(w[((o * c.KH + r) * c.KW + s) * I + i]);
            }
          }
        }
        y[(np * Q + q) * c.O + o] = static_cast<T>(sum);
      }
    }
  });
}

template <class T>
void data_gradient(const Conv2dShape& c, const T* dy, const T* w, T* dx) {
  using A = Accumulator<T>;
  const std::int64_t P = c.P(), Q = c.Q(), I = c.I / c.groups, O = c.O / c.groups;
  parallel_for(c.N * c.H, [&](std::int64_t nh) {
    const std::int64_t n = nh / c.H, h = nh % c.H;
    for (std::int64_t v = 0; v < c.W; ++v) {
      for (std::int64_t i = 0; i < c.I; ++i) {
        const std::int64_t group = i / I;
        A sum = 0;
        for (std::int64_t r = 0; r < c.KH; ++r) {
          const std::int64_t up = h + c.pad_h - r * c.dilation_h;  // = p * stride
          if (up < 0 || up % c.stride_h != 0 || up / c.stride_h >= P) continue;
          for (std::int64_t s = 0; s < c.KW; ++s) {
            const std::int64_t left = v + c.pad_w - s * c.dilation_w;  // = q * stride
            if (left < 0 || left % c.stride_w != 0 || left / c.stride_w >= Q) continue;
            const std::int64_t p = up / c.stride_h, q = left / c.stride_w;
            for (std::int64_t o = group * O; o < (group + 1) * O; ++o) {
              sum += static_cast<A>(dy[((n * P + p) * Q + q) * c.O + o]) *
                     static_cast<A>(w[((o * c.KH + r) * c.KW + s) * I + i - group * I]);
            }
          }
        }
        dx[(nh * c.W + v) * c.I + i] = static_cast<T>(sum);
      }
    }
  });
}

template <class T>
void weight_gradient(const Conv2dShape& c, const T* x, const T* dy, Accumulator<T>* dw) {
  using A = Accumulator<T>;
  const std::int64_t P = c.P(), Q = c.Q(), I = c.I / c.groups, O = c.O / c.groups;
  parallel_for(c.O * c.KH * c.KW, [&](std::int64_t ors) {
    const std::int64_t o = ors / (c.KH * c.KW), r = ors / c.KW % c.KH, s = ors % c.KW;
    const std::int64_t first = o / O * I;
    for (std::int64_t i = 0; i < I; ++i) {
      A sum = 0;
      for (std::int64_t n = 0; n < c.N; ++n) {
        for_rows(r, P, c.H, c.stride_h, c.pad_h, c.dilation_h, [&](std::int64_t p, std::int64_t h) {
          for_rows(s, Q, c.W, c.stride_w, c.pad_w, c.dilation_w,
                   [&](std::int64_t q, std::int64_t v) {
                     sum += static_cast<A>(dy[((n * P + p) * Q + q) * c.O + o]) *
                            static_cast<A>(x[((n * c.H + h) * c.W + v) * c.I + first + i]);
                   });
        });
      }
      dw[ors * I + i] = sum;
    }
  });
}

}  // namespace

Plan conv2d(const Conv2dShape& c) {
  return with_floating(c.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [c](const Queue&, const Buffers& b) {
      forward(c, static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
              c.bias ? static_cast<const Accumulator<T>*>(b.in[2]) : nullptr,
              static_cast<T*>(b.out[0]));
    });
  });
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  return with_floating(c.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [c](const Queue&, const Buffers& b) {
      data_gradient(c, static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                    static_cast<T*>(b.out[0]));
    });
  });
}

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  return with_floating(c.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [c](const Queue&, const Buffers& b) {
      weight_gradient(c, static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                      static_cast<Accumulator<T>*>(b.out[0]));
    });
  });
}

}  // namespace tapescope::reference
