// Normalisation of rows of floats, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

struct LayerNormKernels {
  void (*forward)(std::int64_t rows, std::int64_t C, float epsilon, const float* x,
                  const float* scale, const float* shift, float* y);
  void (*gradient)(std::int64_t rows, std::int64_t C, float epsilon, const float* dy,
                   const float* x, const float* scale, float* dx);
};
TAPESCOPE_DECLARE_ISA_TABLE(LayerNormKernels, layer_norm_kernels)

}  // namespace tapescope
