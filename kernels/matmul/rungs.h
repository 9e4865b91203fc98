// The matrix product's rungs that have files of their own.
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/matmul/matmul.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr DTypes kMatmulDTypes{DType::f32, DType::bf16};

// Rows, columns and depth are counted in int on the device.
inline bool matmul_fits_int(const MatmulShape& s) {
  constexpr std::int64_t kMost = 0x7fffffff - 256;
  return s.M < kMost && s.N < kMost && s.K < kMost;
}

}  // namespace tapescope::TAPESCOPE_GPU
