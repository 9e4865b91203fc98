// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/elementwise/simd.h"

#include "kernels/common/simd_math.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

constexpr std::int64_t kBlock = 64;  // elements: whole vectors on every instruction set
using T = float;                     // what functions.inc computes in

#define TAPESCOPE_UNARY_SLOW(name, expression)
#define TAPESCOPE_BINARY_SLOW(name, expression)
#define TAPESCOPE_UNARY(name, expression)                                         \
  struct unary_##name {                                                           \
    TAPESCOPE_INLINE T apply(T x, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
      return expression;                                                          \
    }                                                                             \
  };
#define TAPESCOPE_BINARY(name, expression)                                             \
  struct binary_##name {                                                               \
    TAPESCOPE_INLINE T apply(T a, T b, [[maybe_unused]] T p0, [[maybe_unused]] T p1) { \
      return expression;                                                               \
    }                                                                                  \
  };
#include "kernels/elementwise/functions.inc"

// Not inlined: the tail must run the very instructions that whole blocks run.
template <class F>
__attribute__((noinline)) void unary_blocks(std::int64_t blocks, const float* x, float* y, float p0,
                                            float p1) {
  for (std::int64_t block = 0; block < blocks; ++block, x += kBlock, y += kBlock) {
#pragma omp simd
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = F::apply(x[i], p0, p1);
  }
}

template <class F>
void unary(std::int64_t n, const float* x, float* y, float p0, float p1) {
  const std::int64_t blocks = n / kBlock, done = blocks * kBlock;
  if (blocks > 0) unary_blocks<F>(blocks, x, y, p0, p1);
  if (done == n) return;
  float buffer[kBlock] = {};
  const auto bytes = static_cast<std::size_t>(n - done) * sizeof(float);
  __builtin_memcpy(buffer, x + done, bytes);
  unary_blocks<F>(1, buffer, buffer, p0, p1);
  __builtin_memcpy(y + done, buffer, bytes);
}

template <class F>
__attribute__((noinline)) void binary_blocks(std::int64_t blocks, const float* a, const float* b,
                                             float* y, float p0, float p1) {
  for (std::int64_t block = 0; block < blocks; ++block, a += kBlock, b += kBlock, y += kBlock) {
#pragma omp simd
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = F::apply(a[i], b[i], p0, p1);
  }
}

template <class F>
void binary(std::int64_t n, const float* a, const float* b, float* y, float p0, float p1) {
  const std::int64_t blocks = n / kBlock, done = blocks * kBlock;
  if (blocks > 0) binary_blocks<F>(blocks, a, b, y, p0, p1);
  if (done == n) return;
  float buffer_a[kBlock] = {}, buffer_b[kBlock] = {};
  const auto bytes = static_cast<std::size_t>(n - done) * sizeof(float);
  __builtin_memcpy(buffer_a, a + done, bytes);
  __builtin_memcpy(buffer_b, b + done, bytes);
  binary_blocks<F>(1, buffer_a, buffer_b, buffer_a, p0, p1);
  __builtin_memcpy(y + done, buffer_a, bytes);
}

const UnaryKernel kUnary[] = {
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY_SLOW(name, expression) nullptr,
#define TAPESCOPE_UNARY(name, expression) unary<unary_##name>,
#include "kernels/elementwise/functions.inc"
};
const BinaryKernel kBinary[] = {
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY_SLOW(name, expression) nullptr,
#define TAPESCOPE_BINARY(name, expression) binary<binary_##name>,
#include "kernels/elementwise/functions.inc"
};

}  // namespace

const ElementwiseKernels elementwise_kernels = {kUnary, kBinary};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
