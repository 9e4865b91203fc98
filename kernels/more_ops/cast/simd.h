// Conversions of contiguous elements, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// y[i] = x[i] converted, i < n; bf16 is passed as its 16 bits.
using CastKernel = void (*)(std::int64_t n, const void* x, void* y);

struct CastKernels {
  CastKernel f32_to_bf16, bf16_to_f32, f32_to_f64, f64_to_f32, u8_to_f32, i64_to_f32;
};
TAPESCOPE_DECLARE_ISA_TABLE(CastKernels, cast_kernels)

}  // namespace tapescope
