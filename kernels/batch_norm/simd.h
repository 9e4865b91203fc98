// The inner loops of batch normalisation over floats, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// All on a block of rows: x, y, dy, dx are {rows, C}; everything else {C}.
struct BatchNormKernels {
  // centre[c]: the mean, rounded; rest[c] = sum_r (x - centre); squares[c] = sum_r (x - centre)^2
  void (*statistics)(std::int64_t rows, std::int64_t C, const float* x, float* centre, float* rest,
                     float* squares);
  // y = (x - mean) * factor + shift
  void (*normalise)(std::int64_t rows, std::int64_t C, const float* x, const float* mean,
                    const float* factor, const float* shift, float* y);
  // sum[c] = sum_r dy, product[c] = sum_r dy * (x - mean)
  void (*gradient_sums)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                        const float* mean, float* sum, float* product);
  // dx = a * dy + b * (x - mean) + c
  void (*gradient)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                   const float* mean, const float* a, const float* b, const float* c, float* dx);
};
TAPESCOPE_DECLARE_ISA_TABLE(BatchNormKernels, batch_norm_kernels)

}  // namespace tapescope
