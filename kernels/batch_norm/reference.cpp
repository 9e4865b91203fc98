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

template <class T>
const T* in(const Buffers& b, int k) {
  return static_cast<const T*>(b.in[k]);
}
template <class T>
T* out(const Buffers& b, int k) {
  return static_cast<T*>(b.out[k]);
}

// (x - mean) * factor + offset
struct Line {
  double mean, factor, offset;
  double operator()(double x) const { return (x - mean) * factor + offset; }
};

struct Moments {
  double mean, variance;
};
// Of channel c of x {rows, C}.
template <class T>
Moments moments(const BatchNormShape& s, std::int64_t c, const T* x) {
  double sum = 0, squares = 0;
  for (std::int64_t r = 0; r < s.rows; ++r) sum += value(x, r * s.C + c);
  const double mean = sum / static_cast<double>(s.rows);
  for (std::int64_t r = 0; r < s.rows; ++r) {
    const double centred = value(x, r * s.C + c) - mean;
    squares += centred * centred;
  }
  return {mean, squares / static_cast<double>(s.rows)};
}

// scale, shift {C}
template <class V>
Line line(const BatchNormShape& s, std::int64_t c, const V* scale, const V* shift, Moments m) {
  return {m.mean, value_or(scale, c, 1) / std::sqrt(m.variance + s.eps), value_or(shift, c, 0)};
}

// f(element, x there) for channel c of y {rows, C}
template <class T, class F>
void fill(const BatchNormShape& s, std::int64_t c, const T* x, T* y, F&& f) {
  for (std::int64_t i = c; i < s.rows * s.C; i += s.C) y[i] = rounded<T>(f(i, value(x, i)));
}

// What of dy counts is passed(element).
template <class T, class Passed>
void gradient(const BatchNormShape& s, const Buffers& b, Passed&& passed) {
  using V = Accumulator<T>;
  const T* x = in<T>(b, 1);
  const V *mean = in<V>(b, 2), *variance = in<V>(b, 3), *scale = in<V>(b, 4);
  T* dx = out<T>(b, 0);
  V *dscale = out<V>(b, 1), *dshift = out<V>(b, 2);
  const double rows = static_cast<double>(s.rows);
  parallel_for(s.C, [&](std::int64_t c) {
    const double inverse = 1 / std::sqrt(value(variance, c) + s.eps), m = value(mean, c);
    double sum = 0, product = 0;
    for (std::int64_t i = c; i < s.rows * s.C; i += s.C) {
      sum += passed(i);
      product += passed(i) * (value(x, i) - m) * inverse;
    }
    if (dshift != nullptr) dshift[c] = rounded<V>(sum);
    if (dscale != nullptr) dscale[c] = rounded<V>(product);
    if (dx == nullptr) return;
    const double factor = value_or(scale, c, 1) * inverse;
    fill(s, c, x, dx, [&](std::int64_t i, double at) {
      const double normal = (at - m) * inverse;
      return factor * (passed(i) - sum / rows - normal * product / rows);
    });
  });
}

// With relu, what stands there once normalised is y's, and factor and offset are kept.
Plan training(const BatchNormShape& s, bool relu) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    using V = Accumulator<T>;
    return Plan("reference", 0, [s, relu](const Queue&, const Buffers& b) {
      parallel_for(s.C, [&](std::int64_t c) {
        const Moments m = moments(s, c, in<T>(b, 0));
        const Line normalise = line(s, c, in<V>(b, 1), in<V>(b, 2), m);
        out<V>(b, 1)[c] = rounded<V>(m.mean);
        out<V>(b, 2)[c] = rounded<V>(m.variance);
        if (relu) out<V>(b, 3)[c] = rounded<V>(normalise.factor);
        if (relu) out<V>(b, 4)[c] = rounded<V>(normalise.offset);
        fill(s, c, in<T>(b, 0), out<T>(b, 0), [&](std::int64_t i, double at) {
          const double z = normalise(at) + (relu && s.residual ? value(in<T>(b, 3), i) : 0);
          return relu && z < 0 ? 0 : s.top > 0 && z > s.top ? s.top : z;
        });
      });
    });
  });
}

}  // namespace

Plan batch_norm_training(const BatchNormShape& s) { return training(s, false); }
Plan batch_norm_relu_training(const BatchNormShape& s) { return training(s, true); }

Plan batch_norm_inference(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      using V = Accumulator<T>;
      parallel_for(s.C, [&](std::int64_t c) {
        const Line normalise =
            line(s, c, in<V>(b, 1), in<V>(b, 2), {value(in<V>(b, 3), c), value(in<V>(b, 4), c)});
        fill(s, c, in<T>(b, 0), out<T>(b, 0),
             [&](std::int64_t, double at) { return normalise(at); });
      });
    });
  });
}

Plan batch_norm_gradient(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      gradient<T>(s, b, [&](std::int64_t i) { return value(in<T>(b, 0), i); });
    });
  });
}

Plan batch_norm_relu_gradient(const BatchNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      using V = Accumulator<T>;
      const T *dy = in<T>(b, 0), *x = in<T>(b, 1);
      if (s.residual) {
        T* const dr = out<T>(b, 3);
        const T* const y = in<T>(b, 5);
        parallel_ranges(s.rows * s.C, 1024, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) dr[i] = value(y, i) > 0 ? dy[i] : T(0.0f);
        });
        gradient<T>(s, b, [&](std::int64_t i) { return value(dr, i); });
        return;
      }
      gradient<T>(s, b, [&](std::int64_t i) {
        const std::int64_t c = i % s.C;
        const Line z{value(in<V>(b, 2), c), value(in<V>(b, 5), c), value(in<V>(b, 6), c)};
        const double at = z(value(x, i));
        return (s.top > 0 ? at >= 0 && at <= s.top : at > 0) ? value(dy, i) : 0;
      });
    });
  });
}

}  // namespace tapescope::reference
