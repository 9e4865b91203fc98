// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/matmul/simd.h"

#include "kernels/common/simd_bf16.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// The tile is as large as the registers hold: of 32 (16 below AVX-512), all but three or four are
// sums; the rest are a row of b and one broadcast element of a.
#if defined(TAPESCOPE_ISA_avx512)
constexpr int kWidth = 16, kRows = 14, kVectors = 2;
#elif defined(TAPESCOPE_ISA_avx2)
constexpr int kWidth = 8, kRows = 6, kVectors = 2;
#else
constexpr int kWidth = 4, kRows = 6, kVectors = 2;
#endif
constexpr int kColumns = kWidth * kVectors;
// Read and written at any address. Name the type where it is used: auto forgets the alignment.
typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));

template <class T>
void pack_a(std::int64_t K, const void* from, std::int64_t row_stride, std::int64_t k_stride,
            std::int64_t count, float* packed) {
  const T* a = static_cast<const T*>(from);
  for (std::int64_t r = 0; r < kRows; ++r) {
    if (r < count) {
      const T* row = a + r * row_stride;
      for (std::int64_t k = 0; k < K; ++k) packed[k * kRows + r] = number(row[k * k_stride]);
    } else {
      for (std::int64_t k = 0; k < K; ++k) packed[k * kRows + r] = 0;
    }
  }
}

template <class T>
void pack_b(std::int64_t K, const void* from, std::int64_t k_stride, std::int64_t column_stride,
            std::int64_t count, float* packed) {
  const T* b = static_cast<const T*>(from);
  if (column_stride == 1) {
    for (std::int64_t k = 0; k < K; ++k) {
      const T* row = b + k * k_stride;
      float* to = packed + k * kColumns;
      if (count == kColumns) {
        for (int j = 0; j < kColumns; ++j) to[j] = number(row[j]);
      } else {
        for (int j = 0; j < kColumns; ++j) to[j] = j < count ? number(row[j]) : 0;
      }
    }
    return;
  }
  for (int j = 0; j < kColumns; ++j) {
    const T* column = b + j * column_stride;
    for (std::int64_t k = 0; k < K; ++k)
      packed[k * kColumns + j] = j < count ? number(column[k * k_stride]) : 0;
  }
}

template <int Rows>
void tile_of(std::int64_t K, const float* a, const float* b, float* c, std::int64_t stride,
             std::int64_t columns, bool accumulate, const float* bias) {
  Vector sum[Rows][kVectors] = {};
  for (std::int64_t k = 0; k < K; ++k) {
    Vector row[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      row[v] = *reinterpret_cast<const Vector*>(b + k * kColumns + v * kWidth);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const float scalar = a[k * kRows + r];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] += scalar * row[v];
    }
  }
  if (columns == kColumns) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        Vector* to = reinterpret_cast<Vector*>(c + r * stride + v * kWidth);
        Vector value = sum[r][v];
        if (accumulate) value += *to;
        if (bias != nullptr) value += *reinterpret_cast<const Vector*>(bias + v * kWidth);
        *to = value;
      }
    }
    return;
  }
  // The same sums by way of memory, so that a cut tile gives the same bits.
  float whole[Rows][kColumns];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      *reinterpret_cast<Vector*>(&whole[r][v * kWidth]) = sum[r][v];
    }
  }
  for (std::int64_t r = 0; r < Rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) {
      float value = whole[r][j];
      if (accumulate) value += c[r * stride + j];
      if (bias != nullptr) value += bias[j];
      c[r * stride + j] = value;
    }
  }
}

// Finds the tile with this number of rows at compile time: few rows do not pay for many.
template <int Rows>
void tile_rows(std::int64_t K, const float* a, const float* b, float* c, std::int64_t stride,
               std::int64_t rows, std::int64_t columns, bool accumulate, const float* bias) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return tile_of<Rows>(K, a, b, c, stride, columns, accumulate, bias);
    tile_rows<Rows - 1>(K, a, b, c, stride, rows, columns, accumulate, bias);
  }
}

}  // namespace

extern const GemmTables gemm_kernels;
const GemmTables gemm_kernels = {{kRows, kColumns, pack_a<float>, pack_b<float>, tile_rows<kRows>},
                                 {kRows, kColumns, pack_a<Half>, pack_b<Half>, tile_rows<kRows>}};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
