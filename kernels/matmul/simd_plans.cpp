#include "kernels/matmul/simd_plans.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/common/pieces.h"
#include "kernels/matmul/simd.h"
#include "kernels/more_ops/cast/simd.h"

namespace tapescope::simd {
namespace {

// Along k a panel of b of this many steps stays in the first cache while panels of a pass by. The
// cuts depend on K alone, and sums are added in their order: that fixes every element's bits.
constexpr std::int64_t kDepth = 256;
constexpr std::int64_t kRowPanels = 6;      // panels of a in a chunk: they stay in the second cache
constexpr std::int64_t kColumnChunk = 256;  // columns in a chunk
constexpr std::int64_t kFewChunks = 16;
constexpr std::int64_t kMostTileRows = 14;

std::int64_t blocks(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

// a's or b's memory from an element on.
const void* at(const MatmulShape& s, const void* data, std::int64_t element) {
  return static_cast<const char*>(data) + static_cast<std::size_t>(element) * size_of(s.dtype);
}

// b as panels {N / columns, K, columns}.
void pack(const GemmKernels& kernels, const MatmulShape& s, const void* b, float* packed) {
  const std::int64_t J = kernels.columns;
  const std::int64_t b_k = s.transpose_b ? 1 : s.N, b_column = s.transpose_b ? s.K : 1;
  parallel_for(blocks(s.N, J), [&](std::int64_t panel) {
    const std::int64_t column = panel * J;
    kernels.pack_b(s.K, at(s, b, column * b_column), b_k, b_column, std::min(J, s.N - column),
                   packed + column * s.K);
  });
}

// Columns of a chunk: fewer where there are few rows, so that all threads have work.
std::int64_t column_chunk(const MatmulShape& s, std::int64_t row_chunks, std::int64_t panel) {
  std::int64_t columns = kColumnChunk;
  while (columns > panel && row_chunks * blocks(s.N, columns) < kFewChunks) columns /= 2;
  return std::max(columns, panel);
}

// Where a chunk's sums are added up, and how they become c: f32 in c itself, bf16 in a buffer.
class Sums {
 public:
  Sums(const MatmulShape& s, void* c, std::int64_t row, std::int64_t column, std::int64_t columns)
      : in_c_(s.dtype == DType::f32 || s.wide), stride_(in_c_ ? s.N : columns), c_stride_(s.N) {
    const auto first = static_cast<std::size_t>(row * s.N + column);
    c_ = static_cast<char*>(c) + first * (in_c_ ? sizeof(float) : sizeof(bf16));
  }
  float* row(std::int64_t r) {
    return (in_c_ ? reinterpret_cast<float*>(c_) : buffer_) + r * stride_;
  }
  std::int64_t stride() const { return stride_; }
  void finish(std::int64_t rows, std::int64_t columns) {
    if (in_c_) return;
    for (std::int64_t r = 0; r < rows; ++r) {
      TAPESCOPE_ISA_TABLE(cast_kernels)
          .f32_to_bf16(columns, row(r), reinterpret_cast<bf16*>(c_) + r * c_stride_);
    }
  }

 private:
  static constexpr std::size_t kMostSums = kMostTileRows * kRowPanels * kColumnChunk;
  bool in_c_;
  std::int64_t stride_, c_stride_;
  char* c_;
  alignas(64) float buffer_[kMostSums];
};

void run(const GemmKernels& kernels, const MatmulShape& s, const void* a, const float* packed_b,
         const float* bias, void* c) {
  const std::int64_t R = kernels.rows, J = kernels.columns;
  const std::int64_t a_row = s.transpose_a ? 1 : s.K, a_k = s.transpose_a ? s.M : 1;
  if (s.K == 0) {
    for (std::int64_t i = 0; i < s.M * s.N; ++i) {
      Sums sum(s, c, i / s.N, i % s.N, 1);
      *sum.row(0) = bias != nullptr ? bias[i % s.N] : 0.0f;
      sum.finish(1, 1);
    }
    return;
  }
  const std::int64_t row_chunk = R * kRowPanels;
  const std::int64_t columns = column_chunk(s, blocks(s.M, row_chunk), J);
  const std::int64_t column_chunks = blocks(s.N, columns);
  parallel_for(blocks(s.M, row_chunk) * column_chunks, [&](std::int64_t chunk) {
    const std::int64_t first_row = chunk / column_chunks * row_chunk;
    const std::int64_t rows = std::min(row_chunk, s.M - first_row);
    const std::int64_t first_column = chunk % column_chunks * columns;
    const std::int64_t last_column = std::min(first_column + columns, s.N);
    alignas(64) float packed_a[kMostTileRows * kRowPanels * kDepth];
    Sums sums(s, c, first_row, first_column, last_column - first_column);
    for (std::int64_t k = 0; k < s.K; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, s.K - k);
      for (std::int64_t r = 0; r < rows; r += R) {
        kernels.pack_a(depth, at(s, a, (first_row + r) * a_row + k * a_k), a_row, a_k,
                       std::min(R, rows - r), packed_a + r * kDepth);
      }
      const bool last = k + depth == s.K;
      for (std::int64_t column = first_column; column < last_column; column += J) {
        for (std::int64_t r = 0; r < rows; r += R) {
          kernels.tile(depth, packed_a + r * kDepth, packed_b + column * s.K + k * J,
                       sums.row(r) + column - first_column, sums.stride(), std::min(R, rows - r),
                       std::min(J, s.N - column), k > 0,
                       last && bias != nullptr ? bias + column : nullptr);
        }
      }
    }
    sums.finish(rows, last_column - first_column);
  });
}

// The product where K is cut into pieces: a tile is made of all of them while it is in cache. All
// of a is packed first, as panels {M / rows, K, rows}.
void run_pieces(const GemmKernels& kernels, const MatmulShape& s, const void* a,
                const float* packed_b, float* packed_a, float* c) {
  constexpr std::int64_t kMostTileColumns = 64, kMostLevels = 16;
  const std::int64_t R = kernels.rows, J = kernels.columns, panels = blocks(s.M, R);
  const std::int64_t a_row = s.transpose_a ? 1 : s.K, a_k = s.transpose_a ? s.M : 1;
  parallel_for(panels, [&](std::int64_t panel) {
    const std::int64_t row = panel * R;
    kernels.pack_a(s.K, at(s, a, row * a_row), a_row, a_k, std::min(R, s.M - row),
                   packed_a + row * s.K);
  });
  parallel_for(blocks(s.N, J), [&](std::int64_t column_panel) {
    const std::int64_t column = column_panel * J, columns = std::min(J, s.N - column);
    alignas(64) float levels[kMostLevels][kMostTileRows * kMostTileColumns];
    for (std::int64_t row = 0; row < s.M; row += R) {
      const std::int64_t rows = std::min(R, s.M - row);
      const auto make = [&](std::int64_t piece, int level) {
        const RowRange k = piece_of(s.K, piece, s.pieces);
        kernels.tile(k.count, packed_a + row * s.K + k.first * R,
                     packed_b + column * s.K + k.first * J, levels[level], J, rows, columns, false,
                     nullptr);
      };
      sum_pieces(s.pieces, make, [&](int to, int from) {
        for (std::int64_t i = 0; i < rows * J; ++i) levels[to][i] += levels[from][i];
      });
      for (std::int64_t r = 0; r < rows; ++r) {
        std::copy_n(levels[0] + r * J, columns, c + (row + r) * s.N + column);
      }
    }
  });
}

struct Kernel {
  MatmulShape s;
  const GemmKernels* kernels;

  std::int64_t packed_floats() const {  // of b
    return blocks(s.N, kernels->columns) * kernels->columns * s.K;
  }
  void pack(const Queue&, const void* b, void* packed) const {
    simd::pack(*kernels, s, b, static_cast<float*>(packed));
  }
  void operator()(const Queue& queue, const Buffers& buffers) const {
    if (buffers.packed == nullptr) pack(queue, buffers.in[1], buffers.workspace);
    const void* b = buffers.packed != nullptr ? buffers.packed : buffers.workspace;
    if (s.pieces > 0) {
      run_pieces(*kernels, s, buffers.in[0], static_cast<const float*>(b),
                 static_cast<float*>(buffers.workspace) + packed_floats(),
                 static_cast<float*>(buffers.out[0]));
      return;
    }
    run(*kernels, s, buffers.in[0], static_cast<const float*>(b),
        s.bias ? static_cast<const float*>(buffers.in[2]) : nullptr, buffers.out[0]);
  }
};

}  // namespace

Plan matmul(const MatmulShape& s) {
  const GemmTables& tables = TAPESCOPE_ISA_TABLE(gemm_kernels);
  const Kernel kernel{s, s.dtype == DType::bf16 ? &tables.bf16 : &tables.f32};
  const std::size_t packed = static_cast<std::size_t>(kernel.packed_floats()) * sizeof(float);
  if (s.pieces > 0) {
    const std::int64_t rows = kernel.kernels->rows;
    const std::int64_t packed_a = blocks(s.M, rows) * rows * s.K;
    return Plan("simd", packed + static_cast<std::size_t>(packed_a) * sizeof(float), kernel);
  }
  return Plan("simd", packed, kernel,
              {s.transpose_b ? "columns of matmul, transposed" : "columns of matmul", packed});
}

}  // namespace tapescope::simd
