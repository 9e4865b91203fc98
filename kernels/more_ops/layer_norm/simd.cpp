// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/more_ops/layer_norm/simd.h"

#include "kernels/common/simd_columns.h"
#include "kernels/common/simd_math.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// mean_c of f(c): element c is added in lane c % kLanes, the lanes at the end.
template <class F>
float mean_of(std::int64_t C, F f) {
  float lanes[kLanes] = {};
  std::int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] += f(c + j);
  }
  for (std::int64_t j = 0; c + j < C; ++j) lanes[j] += f(c + j);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0] / static_cast<float>(C);
}

struct Row {
  float mean, inverse;  // 1 / sqrt(variance + epsilon)
};
Row row_of(std::int64_t C, float epsilon, const float* x) {
  const float mean = mean_of(C, [=](std::int64_t c) TAPESCOPE_LAMBDA { return x[c]; });
  const float variance =
      mean_of(C, [=](std::int64_t c) TAPESCOPE_LAMBDA { return (x[c] - mean) * (x[c] - mean); });
  return {mean, 1.0f / __builtin_sqrtf(variance + epsilon)};
}

void forward(std::int64_t rows, std::int64_t C, float epsilon, const float* x, const float* scale,
             const float* shift, float* y) {
  for (std::int64_t r = 0; r < rows; ++r, x += C, y += C) {
    const Row row = row_of(C, epsilon, x);
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = (x[c] - row.mean) * row.inverse * scale[c] + shift[c];
    }
  }
}

void gradient(std::int64_t rows, std::int64_t C, float epsilon, const float* dy, const float* x,
              const float* scale, float* dx) {
  for (std::int64_t r = 0; r < rows; ++r, dy += C, x += C, dx += C) {
    const Row row = row_of(C, epsilon, x);
    // g = dy * scale, rounded once: g - mean(g) is exactly 0 of a row of one.
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) dx[c] = dy[c] * scale[c];
    const float mean = mean_of(C, [=](std::int64_t c) TAPESCOPE_LAMBDA { return dx[c]; });
    const float along = mean_of(C, [=](std::int64_t c) TAPESCOPE_LAMBDA {
      return dx[c] * ((x[c] - row.mean) * row.inverse);
    });
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) {
      const float normalised = (x[c] - row.mean) * row.inverse;
      dx[c] = (dx[c] - mean - normalised * along) * row.inverse;
    }
  }
}

}  // namespace

const LayerNormKernels layer_norm_kernels = {forward, gradient};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
