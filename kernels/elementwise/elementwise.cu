// Element-wise functions on a GPU, in rungs.
//
//   naive:      one thread per element, and one kernel for all functions: which one it is is the
//               same for every thread, so the choice costs a branch that never diverges
//   vectorized: one kernel per function, and 16 bytes per thread: a quarter of the instructions
//               that move data, and enough bytes in flight to fill the memory's pipe
//
// Operands that broadcast are read through an index that is computed from the merged loops of
// broadcast.h, by multiplications in place of divisions; a scalar operand or one that is repeated
// whole costs nothing beside the read.
#include "kernels/elementwise/elementwise.h"

#include <memory>

#include "kernels/common/gpu.h"
#include "kernels/common/gpu_divisor.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

__device__ float logistic(float x) { return 1.0f / (1.0f + exp(-x)); }

// One type per function: the kernels' template argument.
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY(name, expression)                                          \
  struct unary_##name {                                                            \
    using T = float;                                                               \
    __device__ static T apply(T x, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
      return expression;                                                           \
    }                                                                              \
  };
#include "kernels/elementwise/functions.inc"
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression)                                              \
  struct binary_##name {                                                                \
    using T = float;                                                                    \
    __device__ static T apply(T a, T b, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
      return expression;                                                                \
    }                                                                                   \
  };
#include "kernels/elementwise/functions.inc"

__device__ float apply_unary(Unary function, float x, float p0, float p1) {
  switch (function) {
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY(name, expression) \
  case Unary::name:                       \
    return unary_##name::apply(x, p0, p1);
#include "kernels/elementwise/functions.inc"
  }
  return x;
}
__device__ float apply_binary(Binary function, float a, float b, float p0, float p1) {
  switch (function) {
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression) \
  case Binary::name:                       \
    return binary_##name::apply(a, b, p0, p1);
#include "kernels/elementwise/functions.inc"
  }
  return a;
}

// x, y: {n}
template <class T>
__global__ void unary_naive(const T* x, T* y, std::int64_t n, Unary function, float p0, float p1) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = static_cast<T>(apply_unary(function, static_cast<float>(x[i]), p0, p1));
}

// x, y: {n}, aligned to 16 bytes. What does not fill a pack is the last thread's.
template <class T, class F>
__global__ void unary_vectorized(const T* x, T* y, std::int64_t n, float p0, float p1) {
  constexpr int kWidth = kPackWidth<T>;
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kWidth;
  if (at + kWidth <= n) {
    float values[kWidth];
    widened(load_pack<T, kWidth>(x + at), values);
    TAPESCOPE_UNROLL
    for (int k = 0; k < kWidth; ++k) values[k] = F::apply(values[k], p0, p1);
    store_pack(y + at, rounded<T>(values));
  } else {
    for (std::int64_t i = at; i < n; ++i) {
      y[i] = static_cast<T>(F::apply(static_cast<float>(x[i]), p0, p1));
    }
  }
}

// How two operands are read along the result's merged axes.
struct Loops {
  int rank;
  Divisor extent[Shape::kMaxRank];
  std::int64_t stride[2][Shape::kMaxRank];
};
struct Places {
  std::int64_t a, b;
};
__device__ Places places_of(std::int64_t i, const Loops& loops) {
  Places at{0, 0};
  for (int k = loops.rank - 1; k > 0; --k) {
    const auto p = loops.extent[k](i);
    i = p.quotient;
    at.a += p.rest * loops.stride[0][k];
    at.b += p.rest * loops.stride[1][k];
  }
  if (loops.rank > 0) {  // what is left lies along the first axis: no division where it is alone
    at.a += i * loops.stride[0][0];
    at.b += i * loops.stride[1][0];
  }
  return at;
}

// a, b: as `loops` says; y: {n}
template <class T>
__global__ void binary_naive(const T* a, const T* b, T* y, std::int64_t n, Loops loops,
                             Binary function, float p0, float p1) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const Places at = places_of(i, loops);
  y[i] = static_cast<T>(
      apply_binary(function, static_cast<float>(a[at.a]), static_cast<float>(b[at.b]), p0, p1));
}

// The same for one function; the last axis of `loops` runs along packs: an operand moves with it by
// one element (and is aligned) or stays.
template <class T, class F>
__global__ void binary_vectorized(const T* a, const T* b, T* y, std::int64_t n, Loops loops,
                                  float p0, float p1) {
  constexpr int kWidth = kPackWidth<T>;
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kWidth;
  if (at >= n) return;
  const int last = loops.rank - 1;
  const bool repeat_a = loops.stride[0][last] == 0, repeat_b = loops.stride[1][last] == 0;
  const Places from = places_of(at, loops);
  Pack<T, kWidth> u, v;
  if (repeat_a) {
    for (int k = 0; k < kWidth; ++k) u[k] = a[from.a];
  } else {
    u = load_pack<T, kWidth>(a + from.a);
  }
  if (repeat_b) {
    for (int k = 0; k < kWidth; ++k) v[k] = b[from.b];
  } else {
    v = load_pack<T, kWidth>(b + from.b);
  }
  float values[kWidth];
  TAPESCOPE_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    values[k] = F::apply(static_cast<float>(u[k]), static_cast<float>(v[k]), p0, p1);
  }
  store_pack(y + at, rounded<T>(values));
}

// --- host ---

template <class T>
using UnaryKernel = void (*)(const Queue&, const T* x, T* y, std::int64_t n, float p0, float p1);
template <class T, class F>
void run_unary(const Queue& queue, const T* x, T* y, std::int64_t n, float p0, float p1) {
  launch<unary_vectorized<T, F>>(queue,
                                 blocks_for(ceil_div<std::int64_t>(n, kPackWidth<T>), kThreads),
                                 kThreads, 0, x, y, n, p0, p1);
}
template <class T>
UnaryKernel<T> unary_kernel(Unary function) {
  static constexpr UnaryKernel<T> kTable[] = {
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY(name, expression) run_unary<T, unary_##name>,
#include "kernels/elementwise/functions.inc"
  };
  return kTable[static_cast<int>(function)];
}

template <class T>
using BinaryKernel = void (*)(const Queue&, const T* a, const T* b, T* y, std::int64_t n,
                              const Loops& loops, float p0, float p1);
template <class T, class F>
void run_binary(const Queue& queue, const T* a, const T* b, T* y, std::int64_t n,
                const Loops& loops, float p0, float p1) {
  launch<binary_vectorized<T, F>>(queue, blocks_for(n / kPackWidth<T>, kThreads), kThreads, 0, a, b,
                                  y, n, loops, p0, p1);
}
template <class T>
BinaryKernel<T> binary_kernel(Binary function) {
  static constexpr BinaryKernel<T> kTable[] = {
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression) run_binary<T, binary_##name>,
#include "kernels/elementwise/functions.inc"
  };
  return kTable[static_cast<int>(function)];
}

template <class T, bool wide>
Plan unary_plan(const UnaryShape& s) {
  const float p0 = static_cast<float>(s.p0), p1 = static_cast<float>(s.p1);
  return Plan(wide ? "vectorized" : "naive", 0,
              [=, n = s.n, function = s.function](const Queue& queue, const Buffers& b) {
                if (n == 0) return;
                const T* x = static_cast<const T*>(b.in[0]);  // {n}
                T* y = static_cast<T*>(b.out[0]);             // {n}
                if (wide && aligned(x, 16) && aligned(y, 16)) {
                  unary_kernel<T>(function)(queue, x, y, n, p0, p1);
                } else {
                  launch<unary_naive<T>>(queue, blocks_for(n, kThreads), kThreads, 0, x, y, n,
                                         function, p0, p1);
                }
              });
}

struct BinaryState {
  std::int64_t n;
  Loops loops;
  Binary function;
  float p0, p1;
  bool packs;  // whether the last axis can be run along in packs
};

// Whether a pack never passes the end of the last axis, and each operand moves along it by 1 or 0.
bool runs_in_packs(const Loops& loops, int width) {
  if (loops.rank == 0) return false;
  const int last = loops.rank - 1;
  if (loops.extent[last].by() % width != 0) return false;
  for (int k = 0; k < 2; ++k) {
    if (loops.stride[k][last] > 1) return false;
    for (int axis = 0; axis < last; ++axis) {
      // Where a pack starts in an operand that it is loaded from.
      if (loops.stride[k][last] == 1 && loops.stride[k][axis] % width != 0) return false;
    }
  }
  return true;
}

Loops loops_of(const BinaryShape& s) {
  const auto merged = broadcast_loops<2>(s.out(), {&s.a, &s.b});
  Loops loops = {};
  loops.rank = merged.rank;
  for (int a = 0; a < merged.rank; ++a) {
    const auto i = static_cast<std::size_t>(a);
    loops.extent[a] = Divisor(merged.extent[i]);
    for (std::size_t k = 0; k < 2; ++k) loops.stride[k][a] = merged.stride[k][i];
  }
  return loops;
}

template <class T, bool wide>
Plan binary_plan(const BinaryShape& s) {
  BinaryState state{s.out().elements(),       loops_of(s), s.function, static_cast<float>(s.p0),
                    static_cast<float>(s.p1), false};
  state.packs = wide && runs_in_packs(state.loops, kPackWidth<T>);
  return Plan(wide ? "vectorized" : "naive", 0,
              [state = std::make_unique<BinaryState>(state)](const Queue& queue, const Buffers& b) {
                const BinaryState& s = *state;
                if (s.n == 0) return;
                const T* a_ = static_cast<const T*>(b.in[0]);  // as the loops say
                const T* b_ = static_cast<const T*>(b.in[1]);
                T* y = static_cast<T*>(b.out[0]);  // {n}
                const auto ready = [&](const T* p, int k) {
                  return s.loops.stride[k][s.loops.rank - 1] == 0 || aligned(p, 16);
                };
                if (s.packs && aligned(y, 16) && ready(a_, 0) && ready(b_, 1)) {
                  binary_kernel<T>(s.function)(queue, a_, b_, y, s.n, s.loops, s.p0, s.p1);
                } else {
                  launch<binary_naive<T>>(queue, blocks_for(s.n, kThreads), kThreads, 0, a_, b_, y,
                                          s.n, s.loops, s.function, s.p0, s.p1);
                }
              });
}

template <bool wide>
Plan prepare_unary(const UnaryShape& s) {
  return s.dtype == DType::bf16 ? unary_plan<bf16, wide>(s) : unary_plan<float, wide>(s);
}
template <bool wide>
Plan prepare_binary(const BinaryShape& s) {
  return s.dtype == DType::bf16 ? binary_plan<bf16, wide>(s) : binary_plan<float, wide>(s);
}

// CUDA's and libm's elementary functions are within 2 units of the last place, where the reference
// rounds once: its own note says how that is counted.
template <class Shape>
constexpr Variant<Shape> vectorized_row(Plan (*prepare)(const Shape&)) {
  return {.name = "vectorized",
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = 2,
          .note = "one kernel per function, 16 bytes per thread: a quarter of the loads and stores",
          .prepare = prepare};
}
template <class Shape>
constexpr Variant<Shape> naive_row(Plan (*prepare)(const Shape&)) {
  return {.name = "naive",
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = 2,
          .note = "one thread per element; one kernel for all functions",
          .prepare = prepare};
}

}  // namespace

Rows<UnaryShape> unary_variants() {
  static constexpr Variant<UnaryShape> rows[] = {
      vectorized_row(prepare_unary<true>),
      naive_row(prepare_unary<false>),
  };
  return rows;
}

Rows<BinaryShape> binary_variants() {
  static constexpr Variant<BinaryShape> rows[] = {
      vectorized_row(prepare_binary<true>),
      naive_row(prepare_binary<false>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
