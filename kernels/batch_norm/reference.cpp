#include "kernels/batch_norm/reference.h"

#include <cmath>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

template <class T>
double value(const T* values, std::int64_t i) {
  return static_cast<double>(static_cast<Accumulator<T>>(values[i]));
}
// An optional {C} operand, `otherwise` where it is null.
template <class T>
double value_or(const T* values, std::int64_t c, double otherwise) {
  return values != nullptr ? value(values, c) : otherwise;
}
template <class T>
T rounded(double x) {
  return static_cast<T>(static_cast<Accumulator<T>>(x));
}

// x, y {rows, C}; scale, shift, mean, variance {C}
template <class T>
void normalise(const BatchNormShape& s, std::int64_t c, const T* x, const T* scale, const T* shift,
               double mean, double variance, T* y) {
  const double factor = value_or(scale, c, 1) / std::sqrt(variance + s.eps);
  for (std::int64_t r = 0; r < s.rows; ++r) {
    y[r * s.C + c] = rounded<T>((value(x, r * s.C + c) - mean) * factor + value_or(shift, c, 0));
  }
}

template <class T>
void training(const BatchNormShape& s, const T* x, const T* scale, const T* shift, T* y, T* mean,
              T* variance) {
  parallel_for(s.C, [&](std::int64_t c) {
    double sum = 0, squares = 0;
    for (std::int64_t r = 0; r < s.rows; ++r) sum += value(x, r * s.C + c);
    const double m = sum / static_cast<double>(s.rows);
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const double centred = value(x, r * s.C + c) - m;
      squares += centred * centred;
    }
    const double v = squares / static_cast<double>(s.rows);
    mean[c] = rounded<T>(m);
    variance[c] = rounded<T>(v);
    normalise(s, c, x, scale, shift, m, v, y);
  });
}

template <class T>
void gradient(const BatchNormShape& s, const T* dy, const T* x, const T* mean, const T* variance,
              const T* scale, T* dx, T* dscale, T* dshift) {
  const double rows = static_cast<double>(s.rows);
  parallel_for(s.C, [&](std::int64_t c) {
    const double inverse = 1 / std::sqrt(value(variance, c) + s.eps), m = value(mean, c);
    double sum = 0, product = 0;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      sum += value(dy, r * s.C + c);
      product += value(dy, r * s.C + c) * (value(x, r * s.C + c) - m) * inverse;
    }
    if (dshift != nullptr) dshift[c] = rounded<T>(sum);
    if (dscale != nullptr) dscale[c] = rounded<T>(product);
    if (dx == nullptr) return;
    const double factor = value_or(scale, c, 1) * inverse;
    for (std::int64_t r = 0; r < s.rows; ++r) {
      const double normal = (value(x, r * s.C + c) - m) * inverse;
      dx[r * s.C + c] =
          rounded<T>(factor * (value(dy, r * s.C + c) - sum / rows - normal * product / rows));
    }
  });
}

template <class T>
const T* in(const Buffers& b, int k) {
  return static_cast<const T*>(b.in[k]);
}
template <class T>
T* out(const Buffers& b, int k) {
  return static_cast<T*>(b.out[k]);
}

}  // namespace

Plan batch_norm_training(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      training(s, in<T>(b, 0), in<T>(b, 1), in<T>(b, 2), out<T>(b, 0), out<T>(b, 1), out<T>(b, 2));
    });
  });
}

Plan batch_norm_inference(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      parallel_for(s.C, [&](std::int64_t c) {
        normalise(s, c, in<T>(b, 0), in<T>(b, 1), in<T>(b, 2), value(in<T>(b, 3), c),
                  value(in<T>(b, 4), c), out<T>(b, 0));
      });
    });
  });
}

Plan batch_norm_gradient(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      gradient(s, in<T>(b, 0), in<T>(b, 1), in<T>(b, 2), in<T>(b, 3), in<T>(b, 4), out<T>(b, 0),
               out<T>(b, 1), out<T>(b, 2));
    });
  });
}

}  // namespace tapescope::reference
