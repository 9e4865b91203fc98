// The inner loops of batch normalisation over f32 or bf16, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// All on a block of rows: x, y, r, dy, g, dx are {rows, C}, of the table's dtype; everything else
// {C}, f32.
struct BatchNormKernels {
  // centre[c]: a value near x's; rest[c] = sum_r (x - centre); squares[c] = sum_r (x - centre)^2
  void (*statistics)(std::int64_t rows, std::int64_t C, const void* x, float* centre, float* rest,
                     float* squares);
  // y = (x - mean) * factor + shift, the larger of that and 0, that from 0 to top, the larger of
  // that + r and 0
  void (*normalise)(std::int64_t rows, std::int64_t C, const void* x, const float* mean,
                    const float* factor, const float* shift, void* y);
  void (*normalise_relu)(std::int64_t rows, std::int64_t C, const void* x, const float* mean,
                         const float* factor, const float* shift, void* y);
  void (*normalise_clamp)(std::int64_t rows, std::int64_t C, const void* x, const float* mean,
                          const float* factor, const float* shift, float top, void* y);
  void (*normalise_add_relu)(std::int64_t rows, std::int64_t C, const void* x, const float* mean,
                             const float* factor, const float* shift, const void* r, void* y);
  // sum[c] = sum_r g, product[c] = sum_r g * (x - mean), where g is
  // dy; dy where (x - mean) * factor + shift > 0, else 0; dy where that is from 0 to top, else 0;
  // dy where y > 0, else 0, which is written
  void (*gradient_sums)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                        const float* mean, float* sum, float* product);
  void (*gradient_sums_relu)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                             const float* mean, const float* factor, const float* shift, float* sum,
                             float* product);
  void (*gradient_sums_clamp)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                              const float* mean, const float* factor, const float* shift, float top,
                              float* sum, float* product);
  void (*gradient_sums_masked)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                               const float* mean, const void* y, void* g, float* sum,
                               float* product);
  // dx = a * g + b * (x - mean) + c, where g is dy, or as in gradient_sums_relu and _clamp
  void (*gradient)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                   const float* mean, const float* a, const float* b, const float* c, void* dx);
  void (*gradient_relu)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                        const float* mean, const float* factor, const float* shift, const float* a,
                        const float* b, const float* c, void* dx);
  void (*gradient_clamp)(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                         const float* mean, const float* factor, const float* shift, float top,
                         const float* a, const float* b, const float* c, void* dx);
};
struct BatchNormTables {
  BatchNormKernels f32, bf16;
};
TAPESCOPE_DECLARE_ISA_TABLE(BatchNormTables, batch_norm_kernels)

}  // namespace tapescope
