// The inner loops of batch normalisation over floats, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// All on a block of rows: x, y, r, dy, g, dx are {rows, C}; everything else {C}.
struct BatchNormKernels {
  // centre[c]: the mean, rounded; rest[c] = sum_r (x - centre); squares[c] = sum_r (x - centre)^2
  void (*statistics)(std::int64_t rows, std::int64_t C, const float* x, float* centre, float* rest,
                     float* squares);
  // y = (x - mean) * factor + shift, the larger of that and 0, the larger of that + r and 0
  void (*normalise)(std::int64_t rows, std::int64_t C, const float* x, const float* mean,
                    const float* factor, const float* shift, float* y);
  void (*normalise_relu)(std::int64_t rows, std::int64_t C, const float* x, const float* mean,
                         const float* factor, const float* shift, float* y);
  void (*normalise_add_relu)(std::int64_t rows, std::int64_t C, const float* x, const float* mean,
                             const float* factor, const float* shift, const float* r, float* y);
  // sum[c] = sum_r g, product[c] = sum_r g * (x - mean), where g is
  // dy; dy where (x - mean) * factor + shift > 0, else 0; dy where y > 0, else 0, which is written
  void (*gradient_sums)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                        const float* mean, float* sum, float* product);
  void (*gradient_sums_relu)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                             const float* mean, const float* factor, const float* shift, float* sum,
                             float* product);
  void (*gradient_sums_masked)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                               const float* mean, const float* y, float* g, float* sum,
                               float* product);
  // dx = a * g + b * (x - mean) + c, where g is dy, or as in gradient_sums_relu
  void (*gradient)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                   const float* mean, const float* a, const float* b, const float* c, float* dx);
  void (*gradient_relu)(std::int64_t rows, std::int64_t C, const float* dy, const float* x,
                        const float* mean, const float* factor, const float* shift, const float* a,
                        const float* b, const float* c, float* dx);
};
TAPESCOPE_DECLARE_ISA_TABLE(BatchNormKernels, batch_norm_kernels)

}  // namespace tapescope
