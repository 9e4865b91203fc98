// Sums of squares of several tensors on a GPU. No atomics: every tensor is cut into pieces of one
// length, a block sums each, and a second launch adds up every tensor's.
#include "kernels/more_ops/square_sums/square_sums.h"

#include <memory>
#include <vector>

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"
#include "kernels/common/warp.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kPiece = 16 * 1024;  // elements of a block
constexpr int kMost = 16;                   // tensors: an op has no more operands

// Pieces first[k] to first[k + 1] are tensor k's.
struct Tensors {
  const float* x[kMost];
  std::int64_t n[kMost];
  int first[kMost + 1];
  int count;
};

// partial: {pieces}
__global__ void square_pieces(const __grid_constant__ Tensors t, float* partial) {
  TAPESCOPE_SHARED(float, scratch, [32]);
  const int piece = static_cast<int>(blockIdx.x);
  int k = 0;
  while (k + 1 < t.count && t.first[k + 1] <= piece) ++k;
  const std::int64_t begin = std::int64_t{piece - t.first[k]} * kPiece;
  const std::int64_t end = min(t.n[k], begin + kPiece);
  const float* x = t.x[k];
  float sum[4] = {};  // four chains: what a thread adds does not wait for what it added
  // Every fourth element goes to one chain, however it is read.
  for (std::int64_t i = begin + 4 * threadIdx.x; i < end; i += 4 * blockDim.x) {
    if (i + 4 <= end && reinterpret_cast<std::uintptr_t>(x) % 16 == 0) {
      const auto pack = load_pack<float, 4>(x + i);
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) sum[j] += pack[j] * pack[j];
    } else {
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (i + j < end) sum[j] += x[i + j] * x[i + j];
      }
    }
  }
  const float total = block_reduce<Sum>((sum[0] + sum[1]) + (sum[2] + sum[3]), scratch);
  if (threadIdx.x == 0) partial[piece] = total;
}

// A warp for every tensor. y: {count}
__global__ void add_pieces(const __grid_constant__ Tensors t, const float* partial, float* y) {
  const int k = static_cast<int>(blockIdx.x);
  float sum = 0;
  for (int i = t.first[k] + static_cast<int>(threadIdx.x); i < t.first[k + 1]; i += kWarp) {
    sum += partial[i];
  }
  sum = warp_reduce<Sum>(sum);
  if (threadIdx.x == 0) y[k] = sum;
}

// There are as many numbers as a net has parameters: a block brings them, one thread adds. y: {}
__global__ void sum_in_order(const float* x, float* y, std::int64_t n) {
  TAPESCOPE_SHARED(float, part, [kThreads]);
  float sum = n > 0 ? x[0] : 0.0f;
  for (std::int64_t begin = 1; begin < n; begin += kThreads) {
    if (begin + threadIdx.x < n) part[threadIdx.x] = x[begin + threadIdx.x];
    __syncthreads();
    const auto count = static_cast<int>(min(n - begin, std::int64_t{kThreads}));
    if (threadIdx.x == 0) {
      for (int i = 0; i < count; ++i) sum += part[i];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) *y = sum;
}

// --- host ---

Plan prepare(const SquareSumsShape& s) {
  auto tensors = std::make_unique<Tensors>();
  int pieces = 0;
  for (std::int64_t n : s.n) {
    tensors->n[tensors->count] = n;
    tensors->first[tensors->count++] = pieces;
    pieces += static_cast<int>(ceil_div(n, kPiece));
  }
  tensors->first[tensors->count] = pieces;
  return Plan("pieces", static_cast<std::size_t>(pieces) * sizeof(float),
              [all = std::move(tensors), pieces](const Queue& queue, const Buffers& b) {
                Tensors t = *all;
                for (int k = 0; k < t.count; ++k) t.x[k] = static_cast<const float*>(b.in[k]);
                float* partial = static_cast<float*>(b.workspace);
                if (pieces > 0) {
                  launch<square_pieces>(queue, dim3(static_cast<unsigned>(pieces)), kThreads, 0, t,
                                        partial);
                }
                launch<add_pieces>(queue, dim3(static_cast<unsigned>(t.count)), kWarp, 0, t,
                                   static_cast<const float*>(partial),
                                   static_cast<float*>(b.out[0]));
              });
}

Plan prepare_in_order(const SumInOrderShape& s) {
  return Plan("one_thread", 0, [n = s.n](const Queue& queue, const Buffers& b) {
    launch<sum_in_order>(queue, dim3(1), kThreads, 0, static_cast<const float*>(b.in[0]),
                         static_cast<float*>(b.out[0]), n);
  });
}

bool supports(const SquareSumsShape& s) { return s.n.size() <= kMost; }

}  // namespace

Rows<SquareSumsShape> square_sums_variants() {
  static constexpr Variant<SquareSumsShape> rows[] = {
      {.name = "pieces",
       .dtypes = {DType::f32},
       .note = "a block for 16,384 elements of any tensor, then a warp for each tensor",
       .prepare = prepare,
       .supports = supports},
  };
  return rows;
}

Rows<SumInOrderShape> sum_in_order_variants() {
  static constexpr Variant<SumInOrderShape> rows[] = {
      {.name = "one_thread",
       .dtypes = {DType::f32},
       .note = "brought by a block, added by one thread",
       .prepare = prepare_in_order},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
