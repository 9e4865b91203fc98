// Softmax over rows of floats, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// a, b: {rows, C} operands in the order of log_softmax.h (b unused forward); y: {rows, C}, may be
// a.
using SoftmaxKernel = void (*)(std::int64_t rows, std::int64_t C, const float* a, const float* b,
                               float* y);

struct SoftmaxKernels {
  SoftmaxKernel log_softmax, softmax, log_softmax_gradient, softmax_gradient;
};
TAPESCOPE_DECLARE_ISA_TABLE(SoftmaxKernels, softmax_kernels)

}  // namespace tapescope
