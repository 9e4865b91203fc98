#include "kernels/elementwise/reference.h"

#include <cmath>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work

template <class T>
T logistic(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

namespace functions {
using std::erf, std::exp, std::expm1, std::fabs, std::log, std::log1p, std::pow, std::sqrt;
using std::tanh;
#define TAPESCOPE_UNARY(name, expression)                             \
  template <class T>                                                  \
  T unary_##name(T x, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
    return expression;                                                \
  }
#define TAPESCOPE_BINARY(name, expression)                                  \
  template <class T>                                                        \
  T binary_##name(T a, T b, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
    return expression;                                                      \
  }
#include "kernels/elementwise/functions.inc"
}  // namespace functions

// T: what is stored; A: what is computed in.
template <class A>
using UnaryFunction = A (*)(A x, A p0, A p1);
template <class A>
using BinaryFunction = A (*)(A a, A b, A p0, A p1);

template <class A>
UnaryFunction<A> unary_function(Unary function) {
  static constexpr UnaryFunction<A> kTable[] = {
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY(name, expression) functions::unary_##name<A>,
#include "kernels/elementwise/functions.inc"
  };
  return kTable[static_cast<int>(function)];
}

template <class A>
BinaryFunction<A> binary_function(Binary function) {
  static constexpr BinaryFunction<A> kTable[] = {
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression) functions::binary_##name<A>,
#include "kernels/elementwise/functions.inc"
  };
  return kTable[static_cast<int>(function)];
}

// Where the result's element `index` is found in an operand of shape `operand`.
std::int64_t source_index(std::int64_t index, const Shape& out, const Shape& operand) {
  std::int64_t source = 0, step = 1;
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    const std::int64_t at = index % out[axis];
    index /= out[axis];
    const int own = axis - out.rank() + operand.rank();
    if (own < 0) break;
    if (operand[own] != 1) source += at * step;
    step *= operand[own];
  }
  return source;
}

}  // namespace

Plan unary(const UnaryShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto function = unary_function<A>(s.function);
    const A p0 = static_cast<A>(s.p0), p1 = static_cast<A>(s.p1);
    return Plan("reference", 0, [=, n = s.n](const Queue&, const Buffers& buffers) {
      const T* x = static_cast<const T*>(buffers.in[0]);  // {n}
      T* y = static_cast<T*>(buffers.out[0]);             // {n}
      parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          y[i] = static_cast<T>(function(static_cast<A>(x[i]), p0, p1));
        }
      });
    });
  });
}

Plan binary(const BinaryShape& s) {
  const std::int64_t n = s.out().elements();
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto function = binary_function<A>(s.function);
    const A p0 = static_cast<A>(s.p0), p1 = static_cast<A>(s.p1);
    return Plan(
        "reference", 0, [=, shape_a = s.a, shape_b = s.b](const Queue&, const Buffers& buffers) {
          const T* a = static_cast<const T*>(buffers.in[0]);  // shape_a
          const T* b = static_cast<const T*>(buffers.in[1]);  // shape_b
          T* y = static_cast<T*>(buffers.out[0]);             // the broadcast shape
          const Shape out = broadcast_shape(shape_a, shape_b);
          parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
              y[i] = static_cast<T>(function(static_cast<A>(a[source_index(i, out, shape_a)]),
                                             static_cast<A>(b[source_index(i, out, shape_b)]), p0,
                                             p1));
            }
          });
        });
  });
}

}  // namespace tapescope::reference
