// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/reduce/simd.h"

#include "kernels/common/simd_columns.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

constexpr std::int64_t kCopied = 4096;  // elements: what is repeated stays in the L1 cache

template <class T>
void write_row(std::int64_t columns, const T* x, std::int64_t column_stride, float scale, T* y) {
  if (column_stride == 0) {
    T value;
    put(scale * number(*x), value);
    for (std::int64_t c = 0; c < columns; ++c) y[c] = value;
  } else {
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) put(scale * number(x[c]), y[c]);
  }
}

template <class T>
void broadcast(std::int64_t rows, std::int64_t columns, const void* from, std::int64_t row_stride,
               std::int64_t column_stride, float scale, void* to) {
  const T* x = static_cast<const T*>(from);
  T* y = static_cast<T*>(to);
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
    __builtin_memcpy(y + done * columns, y, static_cast<std::size_t>(count * columns) * sizeof(T));
    done += count;
    if (2 * block * columns <= kCopied) block *= 2;
  }
}

template <class Op, class T>
void columns_of(std::int64_t rows, std::int64_t columns, std::int64_t stride, const void* x,
                float* out) {
  reduce_columns<Op>(rows, columns, stride, static_cast<const T*>(x), out);
}
template <class Op, class T>
void blocks_of(std::int64_t count, std::int64_t rows, std::int64_t columns, const void* x,
               float* out) {
  reduce_blocks<Op>(count, rows, columns, static_cast<const T*>(x), out);
}

template <class T>
constexpr ReduceKernels kKernels = {columns_of<Sum, T>, columns_of<Max, T>, blocks_of<Sum, T>,
                                    blocks_of<Max, T>, broadcast<T>};

}  // namespace

const ReduceTables reduce_kernels = {kKernels<float>, kKernels<Half>};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
