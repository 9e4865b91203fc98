// Kernels that move elements, on a GPU. Elements are plain bits of 1, 2, 4 or 8 bytes.
//
//   naive: pad, slice and transpose are one kernel: one thread per element of the result, which
//          finds its source by one division per axis. concat is one kernel for all its operands.
//   vectorized: the same for 16 bytes at a time, where the last axis stays and is whole packs of
//          them: a pack is then an element like any other
//   tiled: a transpose that swaps two groups of neighbouring axes is a matrix transpose. Tiles pass
//          through shared memory, so that both reads and writes run along rows, of 128 bytes (two
//          elements of 2 bytes a lane); the tile's rows are 4 bytes longer than its columns, so
//          that a column lies in 32 different banks.
#include "kernels/layout/layout.h"

#include <memory>

#include "kernels/common/gpu.h"
#include "kernels/common/gpu_divisor.h"
#include "kernels/common/vector.h"
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
  Divisor extent[Shape::kMaxRank];
  std::int64_t stride[Shape::kMaxRank];
  std::int64_t low[Shape::kMaxRank], high[Shape::kMaxRank];
};

Strided strided(const Shape& out) {
  Strided s;
  s.rank = out.rank();
  s.elements = out.elements();
  for (int a = 0; a < out.rank(); ++a) {
    s.extent[a] = Divisor(out[a]);
    s.high[a] = out[a];
    s.low[a] = 0;
  }
  return s;
}
// The row-major stride of axis a.
std::int64_t stride_of(const Shape& shape, int a) { return shape.elements(a + 1, shape.rank()); }

template <class T>
__global__ void copy_strided(const T* x, T* y, const __grid_constant__ Strided s, T fill) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.elements) return;
  std::int64_t rest = i, from = s.base;
  bool inside = true;
  for (int a = s.rank - 1; a >= 0; --a) {
    const auto [quotient, p] = s.extent[a](rest);
    rest = quotient;
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
__global__ void join_rows(const __grid_constant__ Parts parts, T* y, std::int64_t outer,
                          Divisor row) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= outer * row.by()) return;
  const auto [o, column] = row(i);
  int k = 0;
  while (parts.first[k + 1] <= column) ++k;
  const std::int64_t run = parts.first[k + 1] - parts.first[k];
  y[i] = static_cast<const T*>(parts.x[k])[o * run + column - parts.first[k]];
}

// x: {batch, rows, columns}, y: {batch, columns, rows}. A block of 32 x 8 threads per tile; a lane
// has `Pair` neighbours, of which rows and columns are whole numbers.
template <class T, int Pair>
__global__ void transpose_tiled(const T* x, T* y, std::int64_t rows, std::int64_t columns,
                                std::int64_t column_tiles) {
  constexpr int kSide = kTile * Pair;
  TAPESCOPE_SHARED(T, tile, [kSide][kSide + Pair]);
  const std::int64_t row0 = blockIdx.x / column_tiles * kSide;
  const std::int64_t column0 = blockIdx.x % column_tiles * kSide;
  const std::int64_t matrix = std::int64_t{blockIdx.y} * rows * columns;
  const int lane = static_cast<int>(threadIdx.x) * Pair;
  for (int r = static_cast<int>(threadIdx.y); r < kSide; r += kTileRows) {
    const std::int64_t row = row0 + r, column = column0 + lane;
    if (row < rows && column < columns) {
      store_pack(&tile[r][lane], load_pack<T, Pair>(x + matrix + row * columns + column));
    }
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.y); c < kSide; c += kTileRows) {
    const std::int64_t column = column0 + c, row = row0 + lane;
    if (row >= rows || column >= columns) continue;
    Pack<T, Pair> pack;
    TAPESCOPE_UNROLL
    for (int k = 0; k < Pair; ++k) pack[k] = tile[lane + k][c];
    store_pack(y + matrix + column * rows + row, pack);
  }
}

// --- host ---

using Chunk = Pack<std::uint32_t, 4>;  // 16 bytes, whatever they mean

// The same copy in chunks of `width` elements; false where they do not stay together.
bool in_chunks(Strided& s, std::int64_t width) {
  const int last = s.rank - 1;
  if (last < 0 || s.stride[last] != 1 || s.base % width != 0) return false;
  for (int a = 0; a < last; ++a) {
    if (s.stride[a] % width != 0) return false;
    s.stride[a] /= width;
  }
  for (std::int64_t x : {s.extent[last].by(), s.low[last], s.high[last]}) {
    if (x % width != 0) return false;
  }
  s.extent[last] = Divisor(s.extent[last].by() / width);
  s.low[last] /= width;
  s.high[last] /= width;
  s.base /= width;
  s.elements /= width;
  return true;
}

template <class T>
void copy(const Queue& queue, const Strided& s, const Buffers& b, T fill) {
  launch<copy_strided<T>>(queue, blocks_for(s.elements, kThreads), kThreads, 0,
                          static_cast<const T*>(b.in[0]), static_cast<T*>(b.out[0]), s, fill);
}

// `wide`: by chunks where that can be.
Plan strided_plan(DType dtype, const Strided& s, bool wide, double value = 0) {
  return with_element(dtype, [&](auto t) {
    using T = decltype(t);
    // A plan holds little: what is large is held by pointer.
    struct State {
      Strided elements, chunks;
      bool chunked;
    };
    auto state = std::make_unique<State>(State{s, s, false});
    constexpr int kWidth = kPackWidth<T>;
    state->chunked = wide && kWidth > 1 && s.elements > 0 && in_chunks(state->chunks, kWidth);
    return Plan(wide ? "vectorized" : "naive", 0,
                [state = std::move(state), fill = element_of<T>(dtype, value)](const Queue& queue,
                                                                               const Buffers& b) {
                  if (state->elements.elements == 0) return;
                  if (state->chunked && aligned(b.in[0], 16) && aligned(b.out[0], 16)) {
                    Chunk chunk;
                    for (int k = 0; k < kWidth; ++k) {
                      __builtin_memcpy(reinterpret_cast<char*>(&chunk) + k * sizeof(T), &fill,
                                       sizeof(T));
                    }
                    copy(queue, state->chunks, b, chunk);
                  } else {
                    copy(queue, state->elements, b, fill);
                  }
                });
  });
}

template <bool wide>
Plan pad(const PadShape& s) {
  check(s);
  Strided copied = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    copied.stride[a] = stride_of(s.in, a);
    copied.low[a] = s.before[i];
    copied.high[a] = s.before[i] + s.in[a];
    copied.base -= s.before[i] * copied.stride[a];
  }
  return strided_plan(s.dtype, copied, wide, s.value);
}

template <bool wide>
Plan slice(const SliceShape& s) {
  check(s);
  Strided copied = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    copied.stride[a] = stride_of(s.in, a);
    copied.base += s.start[static_cast<std::size_t>(a)] * copied.stride[a];
  }
  return strided_plan(s.dtype, copied, wide);
}

template <bool wide>
Plan transpose(const TransposeShape& s) {
  check(s);
  Strided copied = strided(s.out());
  for (int a = 0; a < s.in.rank(); ++a) {
    copied.stride[a] = stride_of(s.in, s.permutation[static_cast<std::size_t>(a)]);
  }
  return strided_plan(s.dtype, copied, wide);
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
bool last_axis_stays(const TransposeShape& s) {
  const int last = s.in.rank() - 1;
  return last >= 0 && s.permutation[static_cast<std::size_t>(last)] == last;
}
bool supports_tiled(const TransposeShape& s) { return matrices_of(s).found; }

Plan transpose_by_tiles(const TransposeShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("tiled", 0, [m = matrices_of(s)](const Queue& queue, const Buffers& b) {
      if (m.batch * m.rows * m.columns == 0) return;
      const T* x = static_cast<const T*>(b.in[0]);
      T* y = static_cast<T*>(b.out[0]);
      const auto go = [&]<int Pair>() {
        const std::int64_t column_tiles = ceil_div<std::int64_t>(m.columns, kTile * Pair);
        const std::int64_t tiles = ceil_div<std::int64_t>(m.rows, kTile * Pair) * column_tiles;
        const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(m.batch));
        launch<transpose_tiled<T, Pair>>(queue, grid, dim3(kTile, kTileRows), 0, x, y, m.rows,
                                         m.columns, column_tiles);
      };
      if constexpr (sizeof(T) == 2) {
        if (m.rows % 2 == 0 && m.columns % 2 == 0 && aligned(x, 4) && aligned(y, 4)) {
          return go.template operator()<2>();
        }
      }
      go.template operator()<1>();
    });
  });
}

template <bool wide>
Plan concat(const ConcatShape& s) {
  Parts parts;
  for (std::int64_t extent : s.extents) {
    parts.first[parts.count + 1] = parts.first[parts.count] + extent * s.inner;
    ++parts.count;
  }
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan(
        wide ? "vectorized" : "naive", 0,
        [all = std::make_unique<Parts>(parts), outer = s.outer](const Queue& queue,
                                                                const Buffers& b) {
          Parts parts = *all;
          bool whole = wide && aligned(b.out[0], 16);
          for (int k = 0; k < parts.count; ++k) {
            parts.x[k] = b.in[k];
            whole = whole && aligned(b.in[k], 16) && parts.first[k + 1] * sizeof(T) % 16 == 0;
          }
          const auto go = [&]<class Unit>(Unit) {
            for (std::int64_t& first : parts.first) first = first * sizeof(T) / sizeof(Unit);
            const std::int64_t n = outer * parts.first[parts.count];
            if (n == 0) return;
            launch<join_rows<Unit>>(queue, blocks_for(n, kThreads), kThreads, 0, parts,
                                    static_cast<Unit*>(b.out[0]), outer, Divisor(n / outer));
          };
          if (whole) {
            go(Chunk{});
          } else {
            go(T{});
          }
        });
  });
}
bool supports_concat(const ConcatShape& s) { return s.extents.size() <= kMostParts; }

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};
template <class Shape>
constexpr Variant<Shape> naive_row(Plan (*prepare)(const Shape&),
                                   bool (*supports)(const Shape&) = nullptr) {
  return {.name = "naive",
          .dtypes = kAny,
          .note = "one thread per element of the result",
          .prepare = prepare,
          .supports = supports};
}
template <class Shape>
constexpr Variant<Shape> vectorized_row(Plan (*prepare)(const Shape&),
                                        bool (*supports)(const Shape&) = nullptr) {
  return {.name = "vectorized",
          .dtypes = kAny,
          .note = "16 bytes per thread where the last axis is whole packs of them",
          .prepare = prepare,
          .supports = supports};
}

}  // namespace

Rows<PadShape> pad_variants() {
  static constexpr Variant<PadShape> rows[] = {
      vectorized_row(pad<true>),
      naive_row(pad<false>),
  };
  return rows;
}

Rows<SliceShape> slice_variants() {
  static constexpr Variant<SliceShape> rows[] = {
      vectorized_row(slice<true>),
      naive_row(slice<false>),
  };
  return rows;
}

Rows<ConcatShape> concat_variants() {
  static constexpr Variant<ConcatShape> rows[] = {
      vectorized_row(concat<true>, supports_concat),
      naive_row(concat<false>, supports_concat),
  };
  return rows;
}

Rows<TransposeShape> transpose_variants() {
  static constexpr Variant<TransposeShape> rows[] = {
      {.name = "tiled",
       .dtypes = kAny,
       .note = "tiles of 32 x 32 (64 x 64 of 2 bytes) through shared memory: reads and writes both "
               "run along rows",
       .prepare = transpose_by_tiles,
       .supports = supports_tiled},
      vectorized_row(transpose<true>, last_axis_stays),
      naive_row(transpose<false>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
