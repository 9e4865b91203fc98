// The element-wise functions over contiguous floats, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// y[i] = f(x[i]) and y[i] = f(a[i], b[i]) for i < n; y may be an operand. An element's result
// depends on nothing but the element: tails run through the same instructions.
using UnaryKernel = void (*)(std::int64_t n, const float* x, float* y, float p0, float p1);
using BinaryKernel = void (*)(std::int64_t n, const float* a, const float* b, float* y, float p0,
                              float p1);

struct ElementwiseKernels {
  const UnaryKernel* unary;    // by enum Unary; null where there is none
  const BinaryKernel* binary;  // by enum Binary
};
TAPESCOPE_DECLARE_ISA_TABLE(ElementwiseKernels, elementwise_kernels)

}  // namespace tapescope
