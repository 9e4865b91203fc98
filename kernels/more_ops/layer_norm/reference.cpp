#include "kernels/more_ops/layer_norm/reference.h"

#include <cmath>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// mean_c of f(c).
template <class A, class F>
A mean_of(std::int64_t C, F&& f) {
  A sum = 0;
  for (std::int64_t c = 0; c < C; ++c) sum += f(c);
  return sum / static_cast<A>(C);
}

template <class T>
struct Row {
  using A = Accumulator<T>;
  std::int64_t C;
  double epsilon;
  A mean = 0, inverse = 0;  // 1 / sqrt(variance + epsilon)

  Row(const LayerNormShape& s, const T* x) : C(s.C), epsilon(s.epsilon) {
    mean = mean_of<A>(C, [&](std::int64_t c) { return static_cast<A>(x[c]); });
    const A variance = mean_of<A>(C, [&](std::int64_t c) {
      const A centred = static_cast<A>(x[c]) - mean;
      return centred * centred;
    });
    inverse = 1 / std::sqrt(variance + static_cast<A>(epsilon));
  }
  A normalised(T x) const { return (static_cast<A>(x) - mean) * inverse; }
};

template <class T>
void forward(const LayerNormShape& s, const T* x, const T* scale, const T* shift, T* y) {
  using A = Accumulator<T>;
  const Row<T> row(s, x);
  for (std::int64_t c = 0; c < s.C; ++c) {
    y[c] =
        static_cast<T>(row.normalised(x[c]) * static_cast<A>(scale[c]) + static_cast<A>(shift[c]));
  }
}

template <class T>
void gradient(const LayerNormShape& s, const T* dy, const T* x, const T* scale, T* dx) {
  using A = Accumulator<T>;
  const Row<T> row(s, x);
  const auto g = [&](std::int64_t c) { return static_cast<A>(dy[c]) * static_cast<A>(scale[c]); };
  const A mean = mean_of<A>(s.C, g);
  const A along = mean_of<A>(s.C, [&](std::int64_t c) { return g(c) * row.normalised(x[c]); });
  for (std::int64_t c = 0; c < s.C; ++c) {
    dx[c] = static_cast<T>((g(c) - mean - row.normalised(x[c]) * along) * row.inverse);
  }
}

}  // namespace

Plan layer_norm(const LayerNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      parallel_for(s.rows, [&](std::int64_t r) {
        forward(s, static_cast<const T*>(b.in[0]) + r * s.C, static_cast<const T*>(b.in[1]),
                static_cast<const T*>(b.in[2]), static_cast<T*>(b.out[0]) + r * s.C);
      });
    });
  });
}

Plan layer_norm_gradient(const LayerNormShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      parallel_for(s.rows, [&](std::int64_t r) {
        const std::int64_t at = r * s.C;
        gradient(s, static_cast<const T*>(b.in[0]) + at, static_cast<const T*>(b.in[1]) + at,
                 static_cast<const T*>(b.in[2]), static_cast<T*>(b.out[0]) + at);
      });
    });
  });
}

}  // namespace tapescope::reference
