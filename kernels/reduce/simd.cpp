// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/reduce/simd.h"

#include "kernels/common/simd_columns.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

constexpr std::int64_t kCopied = 4096;  // elements: what is repeated stays in the L1 cache

void write_row(std::int64_t columns, const float* x, std::int64_t column_stride, float scale,
               float* y) {
  if (column_stride == 0) {
    const float value = scale * *x;
    for (std::int64_t c = 0; c < columns; ++c) y[c] = value;
  } else {
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) y[c] = scale * x[c];
  }
}

void broadcast(std::int64_t rows, std::int64_t columns, const float* x, std::int64_t row_stride,
               std::int64_t column_stride, float scale, float* y) {
  if (row_stride != 0) {
    for (std::int64_t r = 0; r < rows; ++r) {
      write_row(columns, x + r * row_stride, column_stride, scale, y + r * columns);
    }
    return;
  }
  // One row, doubled until it is long, then copied on and on.
  write_row(columns, x, column_stride, scale, y);
  std::int64_t done = 1, block = 1;
  while (done < rows) {
    const std::int64_t count = block < rows - done ? block : rows - done;
    __builtin_memcpy(y + done * columns, y, static_cast<std::size_t>(count * columns) * 4);
    done += count;
    if (2 * block * columns <= kCopied) block *= 2;
  }
}

}  // namespace

const ReduceKernels reduce_kernels = {reduce_columns<Sum>, reduce_columns<Max>, reduce_blocks<Sum>,
                                      reduce_blocks<Max>, broadcast};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
