// The register-blocked matrix product that matmul and the implicit-GEMM convolutions share:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// A block computes a tile of BM x BN results. BK columns of A and B at a time pass through shared
// memory, converted to f32; a thread holds TM x TN results in registers, so each value it reads
// from shared memory is used TM or TN times. What A and B are is an operand's business: it says
// where an element lies, or that it is zero (a border, an end).
//
// An operand has
//   T                          its elements
//   kAlongK                    whether neighbours in k, or neighbours in m (or n), lie together
//   Row row(int outer)         what the addresses of this m (or n) have in common
//   const T* address(row, k)   of element k and its neighbours, null where they are zero
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {

template <int BM, int BN, int BK, int TM, int TN>
struct GemmTile {
  static constexpr int kBM = BM, kBN = BN, kBK = BK, kTM = TM, kTN = TN;
  static constexpr int kThreads = (BM / TM) * (BN / TN);
};

// A stored matrix: element (outer, k) at outer * pitch + k.
template <class Element>
struct MatrixAlongK {
  using T = Element;
  static constexpr bool kAlongK = true;
  const T* data;  // {outer, pitch}
  int outer, K;
  std::int64_t pitch;

  using Row = const T*;
  __device__ Row row(int o) const { return o < outer ? data + o * pitch : nullptr; }
  __device__ const T* address(Row row, int k) const {
    return row != nullptr && k < K ? row + k : nullptr;
  }
};
// The same matrix stored the other way round: element (outer, k) at k * pitch + outer.
template <class Element>
struct MatrixAlongOuter {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* data;  // {K, pitch}
  int outer, K;
  std::int64_t pitch;

  using Row = const T*;
  __device__ Row row(int o) const { return o < outer ? data + o : nullptr; }
  __device__ const T* address(Row row, int k) const {
    return row != nullptr && k < K ? row + k * pitch : nullptr;
  }
};

// One thread's share of bringing an operand's tile {BK, Outer} into shared memory: packs of Width
// elements, the same ones in every step, so what their rows have in common is computed once.
template <class Operand, int Outer, int BK, int Width, int threads>
class TileLoader {
 public:
  __device__ TileLoader(const Operand& operand, int first) : operand_(operand) {
    TAPESCOPE_UNROLL
    for (int l = 0; l < kLoads; ++l) rows_[l] = operand.row(first + outer_of(l));
  }
  // tile: {BK, Outer + 4}
  __device__ void load(int k0, float (*tile)[Outer + 4]) const {
    TAPESCOPE_UNROLL
    for (int l = 0; l < kLoads; ++l) {
      if (kPacks % threads != 0 && pack_of(l) >= kPacks) continue;
      const int outer = outer_of(l), k = k_of(l);
      const auto* from = operand_.address(rows_[l], k0 + k);
      Pack<typename Operand::T, Width> v = {};
      if (from != nullptr) v = load_pack<typename Operand::T, Width>(from);
      TAPESCOPE_UNROLL
      for (int j = 0; j < Width; ++j) {
        const float x = static_cast<float>(v[j]);
        if constexpr (Operand::kAlongK) {
          tile[k + j][outer] = x;
        } else {
          tile[k][outer + j] = x;
        }
      }
    }
  }

 private:
  static constexpr int kPacks = Outer * BK / Width;
  static constexpr int kLoads = (kPacks + threads - 1) / threads;
  __device__ static int pack_of(int l) { return l * threads + static_cast<int>(threadIdx.x); }
  __device__ static int outer_of(int l) {
    return Operand::kAlongK ? pack_of(l) / (BK / Width) : pack_of(l) % (Outer / Width) * Width;
  }
  __device__ static int k_of(int l) {
    return Operand::kAlongK ? pack_of(l) % (BK / Width) * Width : pack_of(l) / (Outer / Width);
  }
  const Operand& operand_;
  typename Operand::Row rows_[kLoads];
};

// Reads n neighbouring floats of shared memory, four at a time where there are four.
template <int n>
__device__ void read_row(const float* from, float (&to)[n]) {
  if constexpr (n % 4 == 0) {
    TAPESCOPE_UNROLL
    for (int i = 0; i < n; i += 4) {
      const auto v = load_pack<float, 4>(from + i);
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) to[i + j] = v[j];
    }
  } else {
    TAPESCOPE_UNROLL
    for (int i = 0; i < n; ++i) to[i] = from[i];
  }
}

// `store(m, n, piece, value)` takes the results, those past the end as well. Block (tile, piece)
// sums k from piece * length on, so that a long sum can be shared out; length is a multiple of BK.
// Two blocks fit on a multiprocessor: one multiplies while the other waits for its tiles.
template <class Tile, int Width, class A, class B, class Store>
__global__ void __launch_bounds__(Tile::kThreads, 2)
    gemm(A a, B b, Store store, int column_tiles, int K, int length) {
  constexpr int BM = Tile::kBM, BN = Tile::kBN, BK = Tile::kBK, TM = Tile::kTM, TN = Tile::kTN;
  TAPESCOPE_SHARED(float, tile_a, [BK][BM + 4]);  // + 4: transposed stores meet fewer equal banks
  TAPESCOPE_SHARED(float, tile_b, [BK][BN + 4]);
  const int m0 = static_cast<int>(blockIdx.x) / column_tiles * BM;
  const int n0 = static_cast<int>(blockIdx.x) % column_tiles * BN;
  const int column = static_cast<int>(threadIdx.x) % (BN / TN) * TN;
  const int row = static_cast<int>(threadIdx.x) / (BN / TN) * TM;
  const TileLoader<A, BM, BK, Width, Tile::kThreads> load_a(a, m0);
  const TileLoader<B, BN, BK, Width, Tile::kThreads> load_b(b, n0);
  float sum[TM][TN] = {};
  const int begin = static_cast<int>(blockIdx.y) * length, end = begin + min(length, K - begin);
  for (int k0 = begin; k0 < end; k0 += BK) {
    load_a.load(k0, tile_a);
    load_b.load(k0, tile_b);
    __syncthreads();
    TAPESCOPE_UNROLL
    for (int k = 0; k < BK; ++k) {
      float x[TM], y[TN];
      read_row(&tile_a[k][row], x);
      read_row(&tile_b[k][column], y);
      TAPESCOPE_UNROLL
      for (int i = 0; i < TM; ++i) {
        TAPESCOPE_UNROLL
        for (int j = 0; j < TN; ++j) sum[i][j] += x[i] * y[j];
      }
    }
    __syncthreads();
  }
  TAPESCOPE_UNROLL
  for (int i = 0; i < TM; ++i) {
    TAPESCOPE_UNROLL
    for (int j = 0; j < TN; ++j) {
      store(m0 + row + i, n0 + column + j, static_cast<int>(blockIdx.y), sum[i][j]);
    }
  }
}

// c {M, N}, with an optional bias {N}, which is f32 whatever c is.
template <class T>
struct StoreMatrix {
  T* c;
  const float* bias;
  int M, N;
  __device__ void operator()(int m, int n, int, float value) const {
    if (m >= M || n >= N) return;
    if (bias != nullptr) value += bias[n];
    c[std::int64_t{m} * N + n] = static_cast<T>(value);
  }
};
// Partial sums {pieces, M, N}, for sum_pieces.
struct StorePieces {
  float* partial;
  int M, N;
  __device__ void operator()(int m, int n, int piece, float value) const {
    if (m < M && n < N) partial[(std::int64_t{piece} * M + m) * N + n] = value;
  }
};
// y[i] = sum of partial[piece][i], in their order. partial: {pieces, n}, y: {n}
template <class T>
__global__ void sum_pieces(const float* partial, T* y, std::int64_t n, int pieces) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int piece = 0; piece < pieces; ++piece) sum += partial[piece * n + i];
  y[i] = static_cast<T>(sum);
}

template <class Tile, int Width, class A, class B, class Store>
void launch_gemm(const Queue& queue, const A& a, const B& b, const Store& store, int M, int N,
                 int K, int pieces = 1, int length = 0x7fffffff) {
  const int column_tiles = ceil_div(N, Tile::kBN);
  const dim3 grid(static_cast<unsigned>(ceil_div(M, Tile::kBM) * column_tiles),
                  static_cast<unsigned>(pieces));
  launch<gemm<Tile, Width, A, B, Store>>(queue, grid, Tile::kThreads, 0, a, b, store, column_tiles,
                                         K, length);
}

// The tiles that rungs use.
using ScalarTile = GemmTile<16, 16, 16, 1, 1>;  // one result per thread: shared memory alone
using SmallTile = GemmTile<64, 64, 16, 4, 4>;
using NarrowTile = GemmTile<128, 32, 16, 4, 4>;  // few columns
using LargeTile = GemmTile<128, 128, 16, 8, 8>;

// The register-blocked product, its tile chosen by the number of columns; Width is 16 bytes where
// `wide` says that operands lie so.
template <class A, class B, class Store>
void launch_blocked_gemm(const Queue& queue, bool wide, const A& a, const B& b, const Store& store,
                         int M, int N, int K, int pieces = 1, int length = 0x7fffffff) {
  constexpr int kWidth = kPackWidth<typename A::T>;
  if (!wide) {
    launch_gemm<SmallTile, 1>(queue, a, b, store, M, N, K, pieces, length);
  } else if constexpr (sizeof(typename A::T) == 4) {
    if (N <= NarrowTile::kBN) {
      launch_gemm<NarrowTile, kWidth>(queue, a, b, store, M, N, K, pieces, length);
    } else if (N < LargeTile::kBN) {
      launch_gemm<SmallTile, kWidth>(queue, a, b, store, M, N, K, pieces, length);
    } else {
      launch_gemm<LargeTile, kWidth>(queue, a, b, store, M, N, K, pieces, length);
    }
  } else {  // bf16 has tensor cores: this is the rung before them
    launch_gemm<SmallTile, kWidth>(queue, a, b, store, M, N, K, pieces, length);
  }
}

}  // namespace tapescope::TAPESCOPE_GPU
