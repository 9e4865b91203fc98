// The parts of a blocked matrix product of f32, or of bf16 that is multiplied as f32, once per
// instruction set.
//
// A panel of a is kGemm.rows rows, packed k by k; a panel of b is kGemm.columns columns, packed
// likewise; both are padded with zeros. A tile is one panel of each (Goto and van de Geijn,
// "Anatomy of high-performance matrix multiplication", 2008).
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

struct GemmKernels {
  std::int64_t rows, columns;  // of a tile: its sums stay in registers
  // packed[k][r] = a[(first + r) * row_stride + k * k_stride] for r < count, else 0.
  void (*pack_a)(std::int64_t K, const void* a, std::int64_t row_stride, std::int64_t k_stride,
                 std::int64_t count, float* packed);
  // packed[k][j] = b[k * k_stride + j * column_stride] for j < count, else 0.
  void (*pack_b)(std::int64_t K, const void* b, std::int64_t k_stride, std::int64_t column_stride,
                 std::int64_t count, float* packed);
  // c[r][j] = (accumulate ? c[r][j] : 0) + sum_k a[k][r] b[k][j] (+ bias[j]) for r < rows and
  // j < columns. a {K, rows}, b {K, columns} packed, c with rows `stride` apart, bias may be null.
  void (*tile)(std::int64_t K, const float* a, const float* b, float* c, std::int64_t stride,
               std::int64_t rows, std::int64_t columns, bool accumulate, const float* bias);
};
struct GemmTables {
  GemmKernels f32, bf16;  // what is packed is of that dtype
};
TAPESCOPE_DECLARE_ISA_TABLE(GemmTables, gemm_kernels)

}  // namespace tapescope
