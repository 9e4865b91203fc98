// Convolutions of each channel by itself on a GPU: as many groups as channels, one output of each.
//
// A block works on 32 neighbouring channels, a lane each, so every read of x and dy is one
// transaction of a warp. Against `naive`: the weights of the 32 channels, which lie a kernel apart
// in memory, are read once into shared memory, and a thread makes four pixels of a row for each
// weight it reads there.
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr int kLanes = 32;  // channels of a block
constexpr int kTeams = 8;   // warps of a block
constexpr unsigned kBlock = kLanes * kTeams;
constexpr int kPixels = 4;  // of a row, per thread

struct Place {
  int channel, lane, team;
};
__device__ Place place() {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  return {static_cast<int>(blockIdx.y) * kLanes + lane, lane,
          static_cast<int>(threadIdx.x) / kLanes};
}

// The block's weights as {taps, kLanes}; all threads must call it.
template <class T>
__device__ void load_weights(const T* w, float* weights, const Place& at, const Conv& s) {
  const int taps = s.KH * s.KW;
  for (int t = at.team; t < taps; t += kTeams) {
    weights[t * kLanes + at.lane] =
        at.channel < s.I ? static_cast<float>(w[std::int64_t{at.channel} * taps + t]) : 0.0f;
  }
  __syncthreads();
}

// Four pixels of a row {rows, columns} of an image.
struct Run {
  std::int64_t image;  // n
  int row, column;     // of the first
};
__device__ Run run_of(std::int64_t index, int rows, int columns) {
  const int runs = ceil_div(columns, kPixels);
  return {index / runs / rows, static_cast<int>(index / runs % rows),
          static_cast<int>(index % runs) * kPixels};
}

// x: {N,H,W,C}, w: {C,KH,KW,1}, bias: {C} or null, y: {N,P,Q,C}
template <class T>
__global__ void forward(const T* x, const T* w, const float* bias, T* y, Conv s) {
  TAPESCOPE_DYNAMIC_SHARED(float, weights);
  const Place at = place();
  load_weights(w, weights, at, s);
  const std::int64_t index = std::int64_t{blockIdx.x} * kTeams + at.team;
  if (at.channel >= s.I || index >= std::int64_t{s.N} * s.P * ceil_div(s.Q, kPixels)) return;
  const Run run = run_of(index, s.P, s.Q);
  float sum[kPixels] = {};
  for (int r = 0; r < s.KH; ++r) {
    const int h = run.row * s.stride_h - s.pad_h + r * s.dilation_h;
    if (h < 0 || h >= s.H) continue;
    const T* row = x + (run.image * s.H + h) * s.W * s.I + at.channel;
    for (int c = 0; c < s.KW; ++c) {
      const float weight = weights[(r * s.KW + c) * kLanes + at.lane];
      TAPESCOPE_UNROLL
      for (int k = 0; k < kPixels; ++k) {
        const int v = (run.column + k) * s.stride_w - s.pad_w + c * s.dilation_w;
        if (v >= 0 && v < s.W) sum[k] += static_cast<float>(row[std::int64_t{v} * s.I]) * weight;
      }
    }
  }
  const float first = bias != nullptr ? bias[at.channel] : 0.0f;
  T* out = y + ((run.image * s.P + run.row) * s.Q + run.column) * s.I + at.channel;
  TAPESCOPE_UNROLL
  for (int k = 0; k < kPixels; ++k) {
    if (run.column + k < s.Q) out[std::int64_t{k} * s.I] = static_cast<T>(sum[k] + first);
  }
}

// dy: {N,P,Q,C}, w: {C,KH,KW,1}, dx: {N,H,W,C}
template <class T>
__global__ void data_gradient(const T* dy, const T* w, T* dx, Conv s) {
  TAPESCOPE_DYNAMIC_SHARED(float, weights);
  const Place at = place();
  load_weights(w, weights, at, s);
  const std::int64_t index = std::int64_t{blockIdx.x} * kTeams + at.team;
  if (at.channel >= s.I || index >= std::int64_t{s.N} * s.H * ceil_div(s.W, kPixels)) return;
  const Run run = run_of(index, s.H, s.W);
  float sum[kPixels] = {};
  for (int r = 0; r < s.KH; ++r) {
    const int p = reader(run.row, r, s.stride_h, s.pad_h, s.dilation_h, s.P);
    if (p < 0) continue;
    const T* row = dy + (run.image * s.P + p) * s.Q * s.I + at.channel;
    for (int c = 0; c < s.KW; ++c) {
      const float weight = weights[(r * s.KW + c) * kLanes + at.lane];
      TAPESCOPE_UNROLL
      for (int k = 0; k < kPixels; ++k) {
        const int q = reader(run.column + k, c, s.stride_w, s.pad_w, s.dilation_w, s.Q);
        if (q >= 0) sum[k] += static_cast<float>(row[std::int64_t{q} * s.I]) * weight;
      }
    }
  }
  T* out = dx + ((run.image * s.H + run.row) * s.W + run.column) * s.I + at.channel;
  TAPESCOPE_UNROLL
  for (int k = 0; k < kPixels; ++k) {
    if (run.column + k < s.W) out[std::int64_t{k} * s.I] = static_cast<T>(sum[k]);
  }
}

// x: {N,H,W,C}, dy: {N,P,Q,C}, sums: {pieces, C, taps}. A block sums one tap over a piece of the
// rows of dy: its teams take rows in turn, and what they have is added up in their order.
template <class T>
__global__ void weight_gradient(const T* x, const T* dy, float* sums, Conv s,
                                std::int64_t rows_of_piece) {
  TAPESCOPE_SHARED(float, of_teams, [kTeams][kLanes]);
  const Place at = place();
  const int tap = static_cast<int>(blockIdx.z), r = tap / s.KW, c = tap % s.KW;
  const std::int64_t begin = blockIdx.x * rows_of_piece;
  const std::int64_t end = min(begin + rows_of_piece, std::int64_t{s.N} * s.P);
  float total = 0;
  for (std::int64_t np = begin + at.team; np < end && at.channel < s.I; np += kTeams) {
    const int h = static_cast<int>(np % s.P) * s.stride_h - s.pad_h + r * s.dilation_h;
    if (h < 0 || h >= s.H) continue;
    float row = 0;  // row by row: the error grows with the longer of the two sums
    for (int q = 0; q < s.Q; ++q) {
      const int v = q * s.stride_w - s.pad_w + c * s.dilation_w;
      if (v < 0 || v >= s.W) continue;
      row += static_cast<float>(x[((np / s.P * s.H + h) * s.W + v) * s.I + at.channel]) *
             static_cast<float>(dy[(np * s.Q + q) * s.I + at.channel]);
    }
    total += row;
  }
  of_teams[at.team][at.lane] = total;
  __syncthreads();
  if (at.team != 0 || at.channel >= s.I) return;
  for (int team = 1; team < kTeams; ++team) total += of_teams[team][at.lane];
  const std::int64_t weights = std::int64_t{s.I} * s.KH * s.KW;
  sums[blockIdx.x * weights + std::int64_t{at.channel} * s.KH * s.KW + tap] = total;
}

// sums: {pieces, n}, dw: {n}
__global__ void add_pieces(const float* sums, float* dw, std::int64_t n, std::int64_t pieces) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float total = 0;
  for (std::int64_t piece = 0; piece < pieces; ++piece) total += sums[piece * n + i];
  dw[i] = total;
}

// --- host ---

unsigned channel_blocks(const Conv& s) { return static_cast<unsigned>(ceil_div(s.I, kLanes)); }
std::size_t weight_bytes(const Conv& s) {
  return static_cast<std::size_t>(s.KH * s.KW * kLanes) * sizeof(float);
}
// Blocks for the runs of {N, rows, columns}.
dim3 grid_of(const Conv& s, int rows, int columns) {
  const std::int64_t runs = std::int64_t{s.N} * rows * ceil_div(columns, kPixels);
  return dim3(blocks_for(runs, kTeams).x, channel_blocks(s));
}

template <class T>
Plan forward_plan(const Conv2dShape& shape) {
  return Plan("depthwise", 0,
              [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
                if (std::int64_t{s.N} * s.P * s.Q == 0) return;
                launch<forward<T>>(queue, grid_of(s, s.P, s.Q), kBlock, weight_bytes(s),
                                   static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                                   bias ? static_cast<const float*>(b.in[2]) : nullptr,
                                   static_cast<T*>(b.out[0]), s);
              });
}
template <class T>
Plan data_gradient_plan(const Conv2dShape& shape) {
  return Plan("depthwise", 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    if (std::int64_t{s.N} * s.H * s.W == 0) return;
    launch<data_gradient<T>>(queue, grid_of(s, s.H, s.W), kBlock, weight_bytes(s),
                             static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                             static_cast<T*>(b.out[0]), s);
  });
}
template <class T>
Plan weight_gradient_plan(const Conv2dShape& shape) {
  constexpr std::int64_t kRowsOfPiece = 64;  // of dy: enough that the second launch is cheap
  const std::int64_t rows = shape.N * shape.P();
  const std::int64_t pieces = max<std::int64_t>(1, ceil_div(rows, kRowsOfPiece));
  const std::int64_t weights = shape.I * shape.KH * shape.KW;
  return Plan("depthwise", static_cast<std::size_t>(pieces * weights) * sizeof(float),
              [s = conv_of(shape), pieces, weights](const Queue& queue, const Buffers& b) {
                if (weights == 0) return;
                auto* sums = static_cast<float*>(b.workspace);
                const dim3 grid(static_cast<unsigned>(pieces), channel_blocks(s),
                                static_cast<unsigned>(s.KH * s.KW));
                launch<weight_gradient<T>>(queue, grid, kBlock, 0, static_cast<const T*>(b.in[0]),
                                           static_cast<const T*>(b.in[1]), sums, s, kRowsOfPiece);
                launch<add_pieces>(queue, blocks_for(weights, kBlock), kBlock, 0,
                                   static_cast<const float*>(sums), static_cast<float*>(b.out[0]),
                                   weights, pieces);
              });
}

}  // namespace

Plan conv2d_depthwise(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? forward_plan<bf16>(s) : forward_plan<float>(s);
}
Plan conv2d_data_gradient_depthwise(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? data_gradient_plan<bf16>(s) : data_gradient_plan<float>(s);
}
Plan conv2d_weight_gradient_depthwise(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? weight_gradient_plan<bf16>(s) : weight_gradient_plan<float>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
