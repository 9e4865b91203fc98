// The inner loops of reductions and broadcasts over f32 or bf16, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// out[c] = sum or maximum of x[r * stride + c] over r < rows, for c < columns.
using ColumnsKernel = void (*)(std::int64_t rows, std::int64_t columns, std::int64_t stride,
                               const void* x, float* out);

// out[k * columns + c] = the same over block k, x + k * rows * columns, for k < count.
using BlocksKernel = void (*)(std::int64_t count, std::int64_t rows, std::int64_t columns,
                              const void* x, float* out);

struct ReduceKernels {
  ColumnsKernel sum, max;
  BlocksKernel sum_blocks, max_blocks;
  // y[r * columns + c] = scale * x[r * row_stride + c * column_stride], column_stride 0 or 1
  void (*broadcast)(std::int64_t rows, std::int64_t columns, const void* x, std::int64_t row_stride,
                    std::int64_t column_stride, float scale, void* y);
};
struct ReduceTables {
  ReduceKernels f32, bf16;  // what is read; broadcast writes the same
};
TAPESCOPE_DECLARE_ISA_TABLE(ReduceTables, reduce_kernels)

}  // namespace tapescope
