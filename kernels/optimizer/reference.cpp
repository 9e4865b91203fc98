#include "kernels/optimizer/reference.h"

#include <cmath>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work

template <class T>
const T* in(const Buffers& b, int k) {
  return static_cast<const T*>(b.in[k]);
}
template <class T>
T* out(const Buffers& b, int k) {
  return static_cast<T*>(b.out[k]);
}

template <class F>
Plan with_f32_or_f64(std::string_view family, DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float{});
  if (dtype == DType::f64) return f(double{});
  throw usage_error("[{}] optimiser state is f32 or f64, not {}; keep master weights in f32",
                    family, name_of(dtype));
}

}  // namespace

Plan sgd(const SgdShape& s) {
  return with_f32_or_f64("sgd", s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T *w = in<T>(b, 0), *g = in<T>(b, 1), *u = in<T>(b, 2);  // {n} each
      T *next_w = out<T>(b, 0), *next_u = out<T>(b, 1);              // {n} each
      const T lr = *in<T>(b, 3);
      const T momentum = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
      parallel_ranges(s.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          T direction = g[i] + decay * w[i];
          if (s.momentum != 0) {
            const T velocity = momentum * u[i] + direction;
            next_u[i] = velocity;
            direction = s.nesterov ? direction + momentum * velocity : velocity;
          }
          next_w[i] = w[i] - lr * direction;
        }
      });
    });
  });
}

Plan adamw(const AdamwShape& s) {
  return with_f32_or_f64("adamw", s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T *w = in<T>(b, 0), *g = in<T>(b, 1), *m = in<T>(b, 2), *v = in<T>(b, 3);  // {n}
      T *next_w = out<T>(b, 0), *next_m = out<T>(b, 1), *next_v = out<T>(b, 2);        // {n}
      const double lr = static_cast<double>(*in<T>(b, 4));
      const double step = static_cast<double>(*in<std::int64_t>(b, 5));
      const double correction_m = 1 - std::pow(s.beta1, step);
      const double correction_v = 1 - std::pow(s.beta2, step);
      const T shrink = static_cast<T>(1 - lr * s.weight_decay), eps = static_cast<T>(s.eps);
      const T rate = static_cast<T>(lr / correction_m);
      const T root = static_cast<T>(std::sqrt(correction_v));
      const T beta1 = static_cast<T>(s.beta1), beta2 = static_cast<T>(s.beta2);
      const T rest1 = static_cast<T>(1 - s.beta1), rest2 = static_cast<T>(1 - s.beta2);
      parallel_ranges(s.n, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          next_m[i] = beta1 * m[i] + rest1 * g[i];
          next_v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
          next_w[i] = shrink * w[i] - rate * next_m[i] / (std::sqrt(next_v[i]) / root + eps);
        }
      });
    });
  });
}

}  // namespace tapescope::reference
