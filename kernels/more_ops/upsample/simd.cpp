// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/more_ops/upsample/simd.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

void bilinear_row(std::int64_t Q, std::int64_t C, const ResampleTap* columns, const float* top,
                  const float* bottom, float weight, float* y) {
  for (std::int64_t q = 0; q < Q; ++q, y += C) {
    const ResampleTap tap = columns[q];
    const float *top_left = top + tap.low * C, *top_right = top + tap.high * C;
    const float *bottom_left = bottom + tap.low * C, *bottom_right = bottom + tap.high * C;
    const float left = 1.0f - tap.weight, right = tap.weight, upper = 1.0f - weight;
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = upper * (left * top_left[c] + right * top_right[c]) +
             weight * (left * bottom_left[c] + right * bottom_right[c]);
    }
  }
}

void bilinear_row_gradient(std::int64_t Q, std::int64_t C, const ResampleTap* columns,
                           const float* dy, float weight, float* dx) {
  for (std::int64_t q = 0; q < Q; ++q, dy += C) {
    const ResampleTap tap = columns[q];
    const float left = weight * (1.0f - tap.weight), right = weight * tap.weight;
    float *at_left = dx + tap.low * C, *at_right = dx + tap.high * C;
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) at_left[c] += left * dy[c];
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) at_right[c] += right * dy[c];
  }
}

void nearest_row_gradient(std::int64_t Q, std::int64_t W, std::int64_t C, const float* dy,
                          float* dx) {
  for (std::int64_t q = 0; q < Q; ++q, dy += C) {
    float* pixel = dx + q * W / Q * C;
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) pixel[c] += dy[c];
  }
}

}  // namespace

const ResampleKernels resample_kernels = {bilinear_row, bilinear_row_gradient,
                                          nearest_row_gradient};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
