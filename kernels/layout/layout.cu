// Kernels that move elements, on a GPU. Elements are plain bits of 1, 2, 4 or 8 bytes.
//
//   naive: pad, slice and transpose are one kernel: one thread per element of the result, which
//          finds its source by one division per axis. concat is one kernel for all its operands.
//   tiled: a transpose that swaps two groups of neighbouring axes is a matrix transpose. Tiles pass
//          through shared memory, so that both reads and writes run along rows; the tile's rows are
//          one element longer than its columns, so that a column lies in 32 different banks.
#include "kernels/layout/layout.h"

#include <memory>

#include "kernels/common/gpu.h"
#include "kernels/layout/element.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kTile = 32, kTileRows = 8;

// y[p] = x[base + sum of p[a] * stride[a]] where low[a] <= p[a] < high[a] on every axis, else
// `fill`.
struct Strided {
  int rank = 0;
  std::int64_t elements = 0, base = 0;  // of y; into x
  std::int64_t extent[Shape::kMaxRank], stride[Shape::kMaxRank];
  std::int64_t low[Shape::kMaxRank], high[Shape::kMaxRank];
};

Strided strided(const Shape& out) {
  Strided s;
  s.rank = out.rank();
  s.elements = out.elements();
  for (int a = 0; a < out.rank(); ++a) {
    s.extent[a] = s.high[a] = out[a];
    s.low[a] = 0;
  }
  return s;
}
// The row-major stride of axis a.
std::int64_t stride_of(const Shape& shape, int a) { return shape.elements(a + 1, shape.rank()); }

template <class T>
__global__ void copy_strided(const T* x, T* y, Strided s, T fill) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.elements) return;
  std::int64_t rest = i, from = s.base;
  bool inside = true;
  for (int a = s.rank - 1; a >= 0; --a) {
    const std::int64_t p = rest % s.extent[a];
    rest /= s.extent[a];
    inside = inside && p >= s.low[a] && p < s.high[a];
    from += p * s.stride[a];
  }
  y[i] = inside ? x[from] : fill;
}

// The operands of a concat side by side: row o of y is row o of each. Columns first[k] to
// first[k + 1] of y come from x[k].
constexpr int kMostParts = 16;
struct Parts {
  const void* x[kMostParts];
  std::int64_t first[kMostParts + 1] = {};
  int count = 0;
};
template <class T>
__global__ void join_rows(const __grid_constant__ Parts parts, T* y, std::int64_t outer) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t row = parts.first[parts.count];
  if (i >= outer * row) return;
  const std::int64_t o = i / row, column = i % row;
  int k = 0;
  while (parts.first[k + 1] <= column) ++k;
  const std::int64_t run = parts.first[k + 1] - parts.first[k];
  y[i] = static_cast<const T*>(parts.x[k])[o * run + column - parts.first[k]];
}

// x: {batch, rows, columns}, y: {batch, columns, rows}. A block of 32 x 8 threads per tile.
template <class T>
__global__ void transpose_tiled(const T* x, T* y, std::int64_t rows, std::int64_t columns,
                                std::int64_t column_tiles) {
  TAPESCOPE_SHARED(T, tile, [kTile][kTile + 1]);
  const std::int64_t row0 = blockIdx.x / column_tiles * kTile;
  const std::int64_t column0 = blockIdx.x % column_tiles * kTile;
  const std::int64_t matrix = std::int64_t{blockIdx.y} * rows * columns;
  for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
    const std::int64_t row = row0 + r, column = column0 + threadIdx.x;
    if (row < rows && column < columns) tile[r][threadIdx.x] = x[matrix + row * columns + column];
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.y); c < kTile; c += kTileRows) {
    const std::int64_t column = column0 + c, row = row0 + threadIdx.x;
    if (row < rows && column < columns) y[matrix + column * rows + row] = tile[threadIdx.x][c];
  }
}

// --- host ---

Plan strided_plan(DType dtype, const Strided& s, double value = 0) {
  return with_element(dtype, [&](auto t) {
    using T = decltype(t);
    // A plan holds little: what is large is held by pointer.
    return Plan("naive", 0,
                [s = std::make_unique<Strided>(s), fill = element_of<T>(dtype, value)](
                    const Queue& queue, const Buffers& b) {
                  if (s->elements == 0) return;
                  launch<copy_strided<T>>(queue, blocks_for(s->elements, kThreads), kThreads, 0,
                                          static_cast<const T*>(b.in[0]), static_cast<T*>(b.out[0]),
                                          *s, fill);
                });
  });
}

Plan pad(const PadShape& s) {
  check(s);
  Strided copy = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    copy.stride[a] = stride_of(s.in, a);
    copy.low[a] = s.before[i];
    copy.high[a] = s.before[i] + s.in[a];
    copy.base -= s.before[i] * copy.stride[a];
  }
  return strided_plan(s.dtype, copy, s.value);
}

Plan slice(const SliceShape& s) {
  check(s);
  Strided copy = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    copy.stride[a] = stride_of(s.in, a);
    copy.base += s.start[static_cast<std::size_t>(a)] * copy.stride[a];
  }
  return strided_plan(s.dtype, copy);
}

Plan transpose(const TransposeShape& s) {
  check(s);
  Strided copy = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    copy.stride[a] = stride_of(s.in, s.permutation[static_cast<std::size_t>(a)]);
  }
  return strided_plan(s.dtype, copy);
}

// A transpose as matrices: the first axes stay, and two groups behind them change places.
struct Matrices {
  std::int64_t batch = 1, rows = 1, columns = 1;
  bool found = false;
};
Matrices matrices_of(const TransposeShape& s) {
  Matrices m;
  const int rank = s.in.rank();
  int kept = 0;
  const auto from = [&](int a) {
    return static_cast<int>(s.permutation[static_cast<std::size_t>(a)]);
  };
  while (kept < rank && from(kept) == kept) ++kept;
  if (kept == rank) return m;
  const int second = from(kept);  // the first axis of the group that moves to the front
  for (int a = kept; a < rank; ++a) {
    const int expected = a - kept + second;
    if (from(a) != (expected < rank ? expected : expected - rank + kept)) return m;
  }
  m.batch = s.in.elements(0, kept);
  m.rows = s.in.elements(kept, second);
  m.columns = s.in.elements(second, rank);
  m.found = m.batch < 65536;
  return m;
}
bool supports_tiled(const TransposeShape& s) { return matrices_of(s).found; }

Plan transpose_by_tiles(const TransposeShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("tiled", 0, [m = matrices_of(s)](const Queue& queue, const Buffers& b) {
      if (m.batch * m.rows * m.columns == 0) return;
      const std::int64_t column_tiles = ceil_div<std::int64_t>(m.columns, kTile);
      const std::int64_t tiles = ceil_div<std::int64_t>(m.rows, kTile) * column_tiles;
      launch<transpose_tiled<T>>(queue,
                                 dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(m.batch)),
                                 dim3(kTile, kTileRows), 0, static_cast<const T*>(b.in[0]),
                                 static_cast<T*>(b.out[0]), m.rows, m.columns, column_tiles);
    });
  });
}

Plan concat(const ConcatShape& s) {
  Parts parts;
  for (std::int64_t extent : s.extents) {
    parts.first[parts.count + 1] = parts.first[parts.count] + extent * s.inner;
    ++parts.count;
  }
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("naive", 0,
                [all = std::make_unique<Parts>(parts), outer = s.outer](const Queue& queue,
                                                                        const Buffers& b) {
                  Parts parts = *all;
                  const std::int64_t n = outer * parts.first[parts.count];
                  if (n == 0) return;
                  for (int k = 0; k < parts.count; ++k) parts.x[k] = b.in[k];
                  launch<join_rows<T>>(queue, blocks_for(n, kThreads), kThreads, 0, parts,
                                       static_cast<T*>(b.out[0]), outer);
                });
  });
}
bool supports_concat(const ConcatShape& s) { return s.extents.size() <= kMostParts; }

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};
template <class Shape>
constexpr Variant<Shape> naive_row(Plan (*prepare)(const Shape&)) {
  return {.name = "naive",
          .dtypes = kAny,
          .note = "one thread per element of the result",
          .prepare = prepare};
}

}  // namespace

Rows<PadShape> pad_variants() {
  static constexpr Variant<PadShape> rows[] = {
      naive_row(pad),
  };
  return rows;
}

Rows<SliceShape> slice_variants() {
  static constexpr Variant<SliceShape> rows[] = {
      naive_row(slice),
  };
  return rows;
}

Rows<ConcatShape> concat_variants() {
  static constexpr Variant<ConcatShape> rows[] = {
      {.name = "naive",
       .dtypes = kAny,
       .note = "one thread per element of the result, whichever operand it is from",
       .prepare = concat,
       .supports = supports_concat},
  };
  return rows;
}

Rows<TransposeShape> transpose_variants() {
  static constexpr Variant<TransposeShape> rows[] = {
      {.name = "tiled",
       .dtypes = kAny,
       .note = "32 x 32 tiles through shared memory: reads and writes both run along rows",
       .prepare = transpose_by_tiles,
       .supports = supports_tiled},
      naive_row(transpose),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
