// Sums, means and maxima over axes on a GPU, in rungs. No atomics: the order of additions depends
// on the shape alone, and on nothing of axis 0 where that is kept.
//
//   naive: one thread per result, one element after the other. Neighbouring threads read
//          neighbouring columns, which is right where the last axis is kept and slow where it is
//          reduced.
//   block: one block per result (the last axis reduced: its threads run along it) or one block per
//          32 packs of columns (the last axis kept: as many rows at a time as there are threads,
//          added up in a tree through shared memory), 16 bytes a thread where the last axis is
//          whole packs. A long reduction is cut into pieces first, whose results a second launch
//          adds up. How threads share an order of additions does not depend on where operands are
//          aligned.
#include "kernels/reduce/reduce.h"

#include <memory>

#include "kernels/common/gpu.h"
#include "kernels/common/gpu_divisor.h"
#include "kernels/common/vector.h"
#include "kernels/common/warp.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kPiece = 16 * 1024;  // elements a result takes before it is cut

// Where things lie: the axes of x, merged, as those that are kept and those that are reduced.
// Kernels take them as __grid_constant__: an index known at run time then reads the argument where
// it is, instead of a copy that every thread makes in memory.
struct Axes {
  int rank = 0;
  Divisor extent[Shape::kMaxRank];
  std::int64_t stride[Shape::kMaxRank];
};
__device__ std::int64_t offset_of(std::int64_t i, const Axes& axes) {
  std::int64_t offset = 0;
  for (int a = axes.rank - 1; a > 0; --a) {
    const auto at = axes.extent[a](i);
    offset += at.rest * axes.stride[a];
    i = at.quotient;
  }
  // What is left lies along the first axis. Most often it is the only one, and nothing is divided.
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

// `Width` neighbours, at once where `wide` says that they are aligned.
template <int Width, class T>
__device__ Pack<T, Width> neighbours(const T* from, bool wide) {
  if (wide) return load_pack<T, Width>(from);
  Pack<T, Width> pack;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) pack[k] = from[k];
  return pack;
}

// Block (i, piece) reduces elements [piece * length, ...) of result i, with all its threads.
// y: {pieces, results}
template <class Op, class From, class To, int Width>
__global__ void reduce_rows(const From* x, To* y, std::int64_t results, std::int64_t count,
                            std::int64_t length, const __grid_constant__ Axes kept,
                            const __grid_constant__ Axes reduced, float scale, bool wide) {
  TAPESCOPE_SHARED(float, scratch, [32]);
  const std::int64_t i = blockIdx.x, begin = blockIdx.y * length;
  const std::int64_t end = min(count, begin + length);
  const From* first = x + offset_of(i, kept);
  float total = Op::template identity<float>();
  for (std::int64_t r = begin + threadIdx.x * Width; r < end; r += blockDim.x * Width) {
    const auto pack = neighbours<Width>(first + offset_of(r, reduced), wide);
    TAPESCOPE_UNROLL
    for (int k = 0; k < Width; ++k) total = Op::apply(total, number(pack[k]));
  }
  total = block_reduce<Op>(total, scratch);
  if (threadIdx.x == 0) y[blockIdx.y * results + i] = static_cast<To>(total * scale);
}

// Block (tile, piece) reduces neighbouring results, Width of them per thread; blockDim is {packs,
// rows side by side}. y: {pieces, results}
template <class Op, class From, class To, int Width>
__global__ void __launch_bounds__(kThreads)
    reduce_columns(const From* x, To* y, std::int64_t results, std::int64_t count,
                   std::int64_t length, const __grid_constant__ Axes kept,
                   const __grid_constant__ Axes reduced, float scale, bool wide) {
  TAPESCOPE_SHARED(float, partial, [Width][kThreads]);
  const std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  const std::int64_t begin = blockIdx.y * length, end = min(count, begin + length);
  float total[Width];
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) total[k] = Op::template identity<float>();
  if (i < results) {
    const From* first = x + offset_of(i, kept);
    for (std::int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      const auto pack = neighbours<Width>(first + offset_of(r, reduced), wide);
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) total[k] = Op::apply(total[k], number(pack[k]));
    }
  }
  // Of two halves of the rows one takes what the other has, down to one row.
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  unsigned half = 1;
  while (half * 2 < blockDim.y) half *= 2;
  for (; half > 0; half /= 2) {
    if (threadIdx.y >= half && threadIdx.y < half * 2) {
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) partial[k][thread] = total[k];
    }
    __syncthreads();
    if (threadIdx.y < half && threadIdx.y + half < blockDim.y) {
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        total[k] = Op::apply(total[k], partial[k][thread + half * blockDim.x]);
      }
    }
    __syncthreads();
  }
  if (threadIdx.y != 0 || i >= results) return;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    y[blockIdx.y * results + i + k] = static_cast<To>(total[k] * scale);
  }
}

// y[i] = scale * x[as `axes` says], Width neighbours per thread. Of more than one the last axis is
// whole packs, along which x moves by one element or stays. y: {n}
template <class T, int Width>
__global__ void broadcast(const T* x, T* y, std::int64_t n, const __grid_constant__ Axes axes,
                          float scale) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (i >= n) return;
  const T* from = x + offset_of(i, axes);
  float values[Width];
  if (Width == 1 || axes.stride[axes.rank - 1] == 1) {
    widened(load_pack<T, Width>(from), values);
  } else {
    TAPESCOPE_UNROLL
    for (int k = 0; k < Width; ++k) values[k] = number(*from);
  }
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) values[k] *= scale;
  store_pack(y + i, rounded<T>(values));
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
      axes.extent[last] = Divisor(axes.extent[last].by() * in[a]);
      axes.stride[last] = stride;
    } else {
      axes.extent[axes.rank] = Divisor(in[a]);
      axes.stride[axes.rank++] = stride;
    }
  }
  return axes;
}

// Whether each start of a pack of neighbours along the last axis is a multiple of `width`.
bool in_packs(const Axes& axes, int width) {
  for (int a = 0; a < axes.rank; ++a) {
    if (axes.stride[a] != 1 && axes.stride[a] % width != 0) return false;
  }
  return true;
}

struct ReduceState {
  Reduction op;
  std::int64_t results, count, pieces = 1, length;
  std::int64_t of_a_row;  // results, of one row of axis 0 where that is kept
  Axes kept, reduced;
  float scale;
  bool columns;   // the last axis is kept
  int width = 1;  // neighbours a thread takes
};

// A block of those that reduce columns: up to 32 packs, and rows for the rest of its threads.
dim3 columns_block(std::int64_t of_a_row, int width) {
  const auto packs =
      static_cast<unsigned>(min<std::int64_t>(max<std::int64_t>(of_a_row / width, 1), kWarp));
  return dim3(packs, kThreads / packs);
}

// How a reduction is cut depends on how long it is, and on the other axes, but not on axis 0 where
// that is kept.
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
  const bool keeps_rows = s.in.rank() > 0 && (s.axes & 1u) == 0 && s.in[0] > 0;
  r.of_a_row = keeps_rows ? r.results / s.in[0] : r.results;
  int last = s.in.rank() - 1;
  while (last >= 0 && s.in[last] == 1) --last;
  r.columns = last >= 0 && (s.axes >> last & 1u) == 0;
  const int width = s.dtype == DType::bf16 ? kPackWidth<bf16> : kPackWidth<float>;
  if (last >= 0 && s.in[last] % width == 0 && in_packs(r.kept, width) &&
      in_packs(r.reduced, width)) {
    r.width = width;
  }
  r.pieces = ceil_div(max<std::int64_t>(r.count, 1), kPiece);
  // Where one block would take long: enough for each multiprocessor of an H100 to have four.
  if (r.columns && !keeps_rows && r.results * r.count >= std::int64_t{1} << 18) {
    const dim3 block = columns_block(r.of_a_row, r.width);
    const std::int64_t across = ceil_div<std::int64_t>(r.results, block.x * r.width);
    const std::int64_t most = r.count / (4 * block.y);  // at least four rows a thread
    r.pieces = max(r.pieces, min(ceil_div<std::int64_t>(528, max<std::int64_t>(across, 1)), most));
  }
  r.pieces = min<std::int64_t>(max<std::int64_t>(r.pieces, 1), 512);
  r.length = ceil_div(max<std::int64_t>(r.count, 1), r.pieces * r.width) * r.width;
  r.pieces = ceil_div(max<std::int64_t>(r.count, 1), r.length);
  return r;
}

// One launch: {.., count} to {pieces, results}.
struct Pass {
  std::int64_t results, of_a_row, count, pieces, length;
  const Axes &kept, &reduced;
  bool columns;
  int width;
  float scale;
};
template <class Op, int Width, class From, class To>
void run_pass(const Queue& queue, const Pass& p, const From* x, To* y) {
  const auto rows = static_cast<unsigned>(p.pieces);
  const bool wide = aligned(x, sizeof(From) * Width);
  if (p.columns) {
    const dim3 block = columns_block(p.of_a_row, Width);
    const auto tiles = static_cast<unsigned>(ceil_div<std::int64_t>(p.results, block.x * Width));
    launch<reduce_columns<Op, From, To, Width>>(queue, dim3(tiles, rows), block, 0, x, y, p.results,
                                                p.count, p.length, p.kept, p.reduced, p.scale,
                                                wide);
  } else {
    // As many threads as there is work for, in whole warps.
    const auto wanted =
        static_cast<unsigned>(min<std::int64_t>(ceil_div<std::int64_t>(p.length, Width), kThreads));
    const unsigned threads = max(kWarp, ceil_div(wanted, kWarp) * kWarp);
    launch<reduce_rows<Op, From, To, Width>>(queue, dim3(static_cast<unsigned>(p.results), rows),
                                             threads, 0, x, y, p.results, p.count, p.length, p.kept,
                                             p.reduced, p.scale, wide);
  }
}
template <class Op, class From, class To>
void run_pass(const Queue& queue, const Pass& p, const From* x, To* y) {
  if (p.width > 1) return run_pass<Op, kPackWidth<From>>(queue, p, x, y);
  run_pass<Op, 1>(queue, p, x, y);
}

template <class Op, class T, class To>
void run_block(const Queue& queue, const ReduceState& s, const Buffers& b) {
  const T* x = static_cast<const T*>(b.in[0]);
  To* y = static_cast<To*>(b.out[0]);  // {results}
  Pass pass{s.results, s.of_a_row, s.count,   s.pieces, s.length,
            s.kept,    s.reduced,  s.columns, s.width,  s.scale};
  if (s.pieces == 1) return run_pass<Op>(queue, pass, x, y);
  float* partial = static_cast<float*>(b.workspace);  // {pieces, results}
  pass.scale = 1;
  run_pass<Op>(queue, pass, x, partial);
  Axes results = {}, pieces = {};
  results.rank = pieces.rank = 1;
  results.extent[0] = Divisor(s.results);
  results.stride[0] = 1;
  pieces.extent[0] = Divisor(s.pieces);
  pieces.stride[0] = s.results;
  const bool columns = s.results > 1;
  const int width = columns && s.of_a_row % kPackWidth<float> == 0 ? kPackWidth<float> : 1;
  run_pass<Op>(
      queue,
      Pass{s.results, s.of_a_row, s.pieces, 1, s.pieces, results, pieces, columns, width, s.scale},
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
    bool packs = false;
  };
  auto state = std::make_unique<State>();
  const BroadcastLoops<1> loops = broadcast_loops<1>(s.out, {&s.in});
  state->axes.rank = loops.rank;
  for (std::size_t a = 0; a < static_cast<std::size_t>(loops.rank); ++a) {
    state->axes.extent[a] = Divisor(loops.extent[a]);
    state->axes.stride[a] = loops.stride[0][a];
  }
  state->n = s.out.elements();
  state->scale = static_cast<float>(s.scale);
  constexpr int kWidth = kPackWidth<T>;
  if (const int last = loops.rank - 1; last >= 0) {
    const Axes& axes = state->axes;
    state->packs = axes.extent[last].by() % kWidth == 0 && axes.stride[last] <= 1;
    for (int a = 0; a < last && axes.stride[last] == 1; ++a) {
      state->packs = state->packs && axes.stride[a] % kWidth == 0;
    }
  }
  return Plan("naive", 0, [state = std::move(state)](const Queue& queue, const Buffers& b) {
    if (state->n == 0) return;
    const T* x = static_cast<const T*>(b.in[0]);
    T* y = static_cast<T*>(b.out[0]);
    if (state->packs && aligned(x, 16) && aligned(y, 16)) {
      launch<broadcast<T, kWidth>>(queue, blocks_for(state->n / kWidth, kThreads), kThreads, 0, x,
                                   y, state->n, state->axes, state->scale);
    } else {
      launch<broadcast<T, 1>>(queue, blocks_for(state->n, kThreads), kThreads, 0, x, y, state->n,
                              state->axes, state->scale);
    }
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
       .note =
           "one block per row or per 32 packs of columns, shuffles and shared memory; long ones "
           "in two launches",
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
