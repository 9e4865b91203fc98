// Sums, means and maxima over axes on a GPU, in rungs. No atomics: the order of additions depends
// on the shape alone, and on nothing of axis 0 where that is kept.
//
//   naive: one thread per result, one element after the other. Neighbouring threads read
//          neighbouring columns, which is right where the last axis is kept and slow where it is
//          reduced.
//   block: one block per result (the last axis reduced: its threads run along it) or one block per
//          32 columns (the last axis kept: 8 rows at a time, added up through shared memory). A
//          long reduction is cut into pieces of a fixed length first, whose results a second launch
//          adds up.
#include "kernels/reduce/reduce.h"

#include <memory>

#include "kernels/common/gpu.h"
#include "kernels/common/warp.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kColumns = 32, kRows = 8;     // of a block that reduces columns
constexpr std::int64_t kPiece = 16 * 1024;  // elements a result takes before it is cut

// Where things lie: the axes of x, merged, as those that are kept and those that are reduced.
// Kernels take them as __grid_constant__: an index known at run time then reads the argument where
// it is, instead of a copy that every thread makes in memory.
struct Axes {
  int rank = 0;
  std::int64_t extent[Shape::kMaxRank], stride[Shape::kMaxRank];
};
__device__ std::int64_t offset_of(std::int64_t i, const Axes& axes) {
  std::int64_t offset = 0;
  for (int a = axes.rank - 1; a > 0; --a) {
    offset += i % axes.extent[a] * axes.stride[a];
    i /= axes.extent[a];
  }
  // What is left lies along the first axis. Most often it is the only one, and nothing is divided:
  // a division of 64-bit integers is a hundred instructions.
  return axes.rank > 0 ? offset + i * axes.stride[0] : offset;
}

template <class T>
__device__ float number(T x) {
  return static_cast<float>(x);
}

// Partial results are f32 and become T, scaled, at the end. x: {...}, y: {results}
template <class Op, class From, class To>
__global__ void reduce_naive(const From* x, To* y, std::int64_t results, std::int64_t count,
                             const __grid_constant__ Axes kept,
                             const __grid_constant__ Axes reduced, float scale) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= results) return;
  const From* first = x + offset_of(i, kept);
  // Pieces of 256 keep the error that of a tree.
  float total = Op::template identity<float>();
  for (std::int64_t r = 0; r < count;) {
    float piece = Op::template identity<float>();
    const std::int64_t end = min(count, r + 256);
    for (; r < end; ++r) piece = Op::apply(piece, number(first[offset_of(r, reduced)]));
    total = Op::apply(total, piece);
  }
  y[i] = static_cast<To>(total * scale);
}

// Block (i, piece) reduces elements [piece * length, ...) of result i, with all its threads.
// y: {pieces, results}
template <class Op, class From, class To>
__global__ void reduce_rows(const From* x, To* y, std::int64_t results, std::int64_t count,
                            std::int64_t length, const __grid_constant__ Axes kept,
                            const __grid_constant__ Axes reduced, float scale) {
  TAPESCOPE_SHARED(float, scratch, [32]);
  const std::int64_t i = blockIdx.x, begin = blockIdx.y * length;
  const std::int64_t end = min(count, begin + length);
  const From* first = x + offset_of(i, kept);
  float total = Op::template identity<float>();
  for (std::int64_t r = begin + threadIdx.x; r < end; r += blockDim.x) {
    total = Op::apply(total, number(first[offset_of(r, reduced)]));
  }
  total = block_reduce<Op>(total, scratch);
  if (threadIdx.x == 0) y[blockIdx.y * results + i] = static_cast<To>(total * scale);
}

// Block (tile, piece) reduces 32 neighbouring results, one thread per column, 8 rows side by side.
// y: {pieces, results}
template <class Op, class From, class To>
__global__ void reduce_columns(const From* x, To* y, std::int64_t results, std::int64_t count,
                               std::int64_t length, const __grid_constant__ Axes kept,
                               const __grid_constant__ Axes reduced, float scale) {
  TAPESCOPE_SHARED(float, partial, [kRows][kColumns]);
  const std::int64_t i = std::int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const std::int64_t begin = blockIdx.y * length, end = min(count, begin + length);
  float total = Op::template identity<float>();
  if (i < results) {
    const From* first = x + offset_of(i, kept);
    for (std::int64_t r = begin + threadIdx.y; r < end; r += kRows) {
      total = Op::apply(total, number(first[offset_of(r, reduced)]));
    }
  }
  partial[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || i >= results) return;
  for (int row = 1; row < kRows; ++row) total = Op::apply(total, partial[row][threadIdx.x]);
  y[blockIdx.y * results + i] = static_cast<To>(total * scale);
}

// y[i] = scale * x[as `axes` says]. y: {n}
template <class T>
__global__ void broadcast(const T* x, T* y, std::int64_t n, const __grid_constant__ Axes axes,
                          float scale) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = static_cast<T>(number(x[offset_of(i, axes)]) * scale);
}

// --- host ---

// The axes of `in` that `mask` picks; neighbours that lie behind each other in memory become one.
Axes axes_of(const Shape& in, std::uint32_t mask) {
  Axes axes;
  for (int a = 0; a < in.rank(); ++a) {
    if ((mask >> a & 1u) == 0 || in[a] == 1) continue;
    const std::int64_t stride = in.elements(a + 1, in.rank());
    const int last = axes.rank - 1;
    if (last >= 0 && axes.stride[last] == stride * in[a]) {
      axes.extent[last] *= in[a];
      axes.stride[last] = stride;
    } else {
      axes.extent[axes.rank] = in[a];
      axes.stride[axes.rank++] = stride;
    }
  }
  return axes;
}

struct ReduceState {
  Reduction op;
  std::int64_t results, count, pieces = 1, length;
  Axes kept, reduced;
  float scale;
  bool columns;  // the last axis is kept
};

ReduceState state_of(const ReduceShape& s) {
  ReduceState r;
  r.op = s.op;
  r.results = s.out().elements();
  r.count = s.count();
  r.kept = axes_of(s.in, all_axes(s.in.rank()) & ~s.axes);
  r.reduced = axes_of(s.in, s.axes);
  r.scale = s.op == Reduction::mean ? static_cast<float>(1.0 / static_cast<double>(r.count)) : 1;
  // Nothing to average or to be largest: NaN.
  if (r.count == 0 && s.op != Reduction::sum) r.scale = __builtin_nanf("");
  int last = s.in.rank() - 1;
  while (last >= 0 && s.in[last] == 1) --last;
  r.columns = last >= 0 && (s.axes >> last & 1u) == 0;
  // How a reduction is cut depends on how long it is, not on how many there are.
  r.pieces = ceil_div(max<std::int64_t>(r.count, 1), kPiece);
  r.pieces = min<std::int64_t>(r.pieces, 512);
  r.length = ceil_div(max<std::int64_t>(r.count, 1), r.pieces);
  return r;
}

template <class Op, class From, class To>
void pass(const Queue& queue, const ReduceState& s, std::int64_t count, std::int64_t pieces,
          std::int64_t length, const Axes& kept, const Axes& reduced, bool columns, float scale,
          const From* x, To* y) {
  const auto rows = static_cast<unsigned>(pieces);
  if (columns) {
    const auto tiles = static_cast<unsigned>(ceil_div<std::int64_t>(s.results, kColumns));
    launch<reduce_columns<Op, From, To>>(queue, dim3(tiles, rows), dim3(kColumns, kRows), 0, x, y,
                                         s.results, count, length, kept, reduced, scale);
  } else {
    // As many threads as there is work for, in whole warps.
    const auto wanted = static_cast<unsigned>(min<std::int64_t>(length, kThreads));
    const unsigned threads = max(kWarp, ceil_div(wanted, kWarp) * kWarp);
    launch<reduce_rows<Op, From, To>>(queue, dim3(static_cast<unsigned>(s.results), rows), threads,
                                      0, x, y, s.results, count, length, kept, reduced, scale);
  }
}

template <class Op, class T, class To>
void run_block(const Queue& queue, const ReduceState& s, const Buffers& b) {
  const T* x = static_cast<const T*>(b.in[0]);
  To* y = static_cast<To*>(b.out[0]);  // {results}
  if (s.pieces == 1) {
    pass<Op>(queue, s, s.count, 1, s.length, s.kept, s.reduced, s.columns, s.scale, x, y);
    return;
  }
  float* partial = static_cast<float*>(b.workspace);  // {pieces, results}
  pass<Op>(queue, s, s.count, s.pieces, s.length, s.kept, s.reduced, s.columns, 1.0f, x, partial);
  Axes results = {}, pieces = {};
  results.rank = pieces.rank = 1;
  results.extent[0] = s.results;
  results.stride[0] = 1;
  pieces.extent[0] = s.pieces;
  pieces.stride[0] = s.results;
  pass<Op>(queue, s, s.pieces, 1, s.pieces, results, pieces, s.results > 1, s.scale,
           static_cast<const float*>(partial), y);
}

template <class T, class To>
Plan block_plan(const ReduceShape& shape) {
  ReduceState state = state_of(shape);
  const std::size_t workspace =
      state.pieces > 1 ? static_cast<std::size_t>(state.pieces * state.results) * sizeof(float) : 0;
  return Plan("block", workspace,
              [s = std::make_unique<ReduceState>(state)](const Queue& queue, const Buffers& b) {
                if (s->results == 0) return;
                if (s->op == Reduction::max) {
                  run_block<Max, T, To>(queue, *s, b);
                } else {
                  run_block<Sum, T, To>(queue, *s, b);
                }
              });
}

template <class T, class To>
Plan naive_plan(const ReduceShape& shape) {
  return Plan(
      "naive", 0,
      [s = std::make_unique<ReduceState>(state_of(shape))](const Queue& queue, const Buffers& b) {
        if (s->results == 0) return;
        const T* x = static_cast<const T*>(b.in[0]);
        To* y = static_cast<To*>(b.out[0]);  // {results}
        const dim3 grid = blocks_for(s->results, kThreads);
        if (s->op == Reduction::max) {
          launch<reduce_naive<Max, T, To>>(queue, grid, kThreads, 0, x, y, s->results, s->count,
                                           s->kept, s->reduced, s->scale);
        } else {
          launch<reduce_naive<Sum, T, To>>(queue, grid, kThreads, 0, x, y, s->results, s->count,
                                           s->kept, s->reduced, s->scale);
        }
      });
}

Plan prepare_block(const ReduceShape& s) {
  if (s.dtype != DType::bf16) return block_plan<float, float>(s);
  return s.wide ? block_plan<bf16, float>(s) : block_plan<bf16, bf16>(s);
}
Plan prepare_naive(const ReduceShape& s) {
  if (s.dtype != DType::bf16) return naive_plan<float, float>(s);
  return s.wide ? naive_plan<bf16, float>(s) : naive_plan<bf16, bf16>(s);
}
// One block per result needs an index below 2^31.
bool supports_block(const ReduceShape& s) { return s.out().elements() < (std::int64_t{1} << 31); }

template <class T>
Plan broadcast_plan(const BroadcastShape& s) {
  struct State {
    Axes axes;
    std::int64_t n;
    float scale;
  };
  auto state = std::make_unique<State>();
  const BroadcastLoops<1> loops = broadcast_loops<1>(s.out, {&s.in});
  state->axes.rank = loops.rank;
  for (std::size_t a = 0; a < static_cast<std::size_t>(loops.rank); ++a) {
    state->axes.extent[a] = loops.extent[a];
    state->axes.stride[a] = loops.stride[0][a];
  }
  state->n = s.out.elements();
  state->scale = static_cast<float>(s.scale);
  return Plan("naive", 0, [state = std::move(state)](const Queue& queue, const Buffers& b) {
    if (state->n == 0) return;
    launch<broadcast<T>>(queue, blocks_for(state->n, kThreads), kThreads, 0,
                         static_cast<const T*>(b.in[0]), static_cast<T*>(b.out[0]), state->n,
                         state->axes, state->scale);
  });
}
Plan prepare_broadcast(const BroadcastShape& s) {
  if (!broadcasts_to(s.in, s.out)) {
    throw usage_error("[broadcast_like] {} does not broadcast to {}", to_string(s.in),
                      to_string(s.out));
  }
  return s.dtype == DType::bf16 ? broadcast_plan<bf16>(s) : broadcast_plan<float>(s);
}

constexpr DTypes kDTypes{DType::f32, DType::bf16};

}  // namespace

Rows<ReduceShape> reduce_variants() {
  static constexpr Variant<ReduceShape> rows[] = {
      {.name = "block",
       .dtypes = kDTypes,
       .note = "one block per row or per 32 columns, shuffles and shared memory; long ones in two "
               "launches",
       .prepare = prepare_block,
       .supports = supports_block},
      {.name = "naive",
       .dtypes = kDTypes,
       .note = "one thread per result",
       .prepare = prepare_naive},
  };
  return rows;
}

Rows<BroadcastShape> broadcast_like_variants() {
  static constexpr Variant<BroadcastShape> rows[] = {
      {.name = "naive",
       .dtypes = kDTypes,
       .note = "one thread per element of the result",
       .prepare = prepare_broadcast},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
