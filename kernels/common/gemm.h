// The register-blocked matrix product that matmul and the implicit-GEMM convolutions share:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// A block computes a tile of BM x BN results. BK columns of A and B at a time pass through shared
// memory, converted to f32; a thread holds TM x TN results in registers, so each value it reads
// from shared memory is used TM or TN times. What A, B and c are: gemm_operands.h.
#pragma once

#include "kernels/common/gemm_operands.h"

namespace tapescope::TAPESCOPE_GPU {

template <int BM, int BN, int BK, int TM, int TN>
struct GemmTile {
  static constexpr int kBM = BM, kBN = BN, kBK = BK, kTM = TM, kTN = TN;
  static constexpr int kThreads = (BM / TM) * (BN / TN);
};

// A tile in shared memory: BK rows of `Outer` floats, and eight more after every fourth row: what a
// warp stores down a column (its operand lies along k) falls into 32 banks. Rows of less than a
// warp are one longer instead.
template <int Outer>
constexpr int place_in_tile(int k, int outer) {
  return k * (Outer < 32 ? Outer + 1 : Outer) + (Outer < 32 ? 0 : k / 4 * 8) + outer;
}

// Brings the share's packs into the tile as f32, and moves on.
template <int Outer, int Width, bool along_k, class Share>
__device__ __forceinline__ void load_tile(Share& share, float* tile) {
  TAPESCOPE_UNROLL
  for (int l = 0; l < Share::kLoads; ++l) {
    if (!share.has(l)) continue;
    Pack<typename Share::T, Width> v = {};
    if (share.inside(l)) v = load_pack<typename Share::T, Width>(share.at(l));
    const int outer = share.outer_of(l), k = share.k_of(l);
    if constexpr (!along_k && Width % 4 == 0) {
      TAPESCOPE_UNROLL
      for (int j = 0; j < Width; j += 4) {
        Pack<float, 4> four;
        TAPESCOPE_UNROLL
        for (int i = 0; i < 4; ++i) four[i] = static_cast<float>(v[j + i]);
        store_pack(tile + place_in_tile<Outer>(k, outer + j), four);
      }
    } else {
      TAPESCOPE_UNROLL
      for (int j = 0; j < Width; ++j) {
        tile[along_k ? place_in_tile<Outer>(k + j, outer) : place_in_tile<Outer>(k, outer + j)] =
            static_cast<float>(v[j]);
      }
    }
  }
  share.advance();
}

// Reads `count` floats of row k, `together` neighbours from `outer` on, the next ones `apart` on.
template <int Outer, int together, int apart, int count>
__device__ __forceinline__ void read_tile(const float* tile, int k, int outer, float (&to)[count]) {
  TAPESCOPE_UNROLL
  for (int i = 0; i < count; i += together) {
    const auto v =
        load_pack<float, together>(tile + place_in_tile<Outer>(k, outer + i / together * apart));
    TAPESCOPE_UNROLL
    for (int j = 0; j < together; ++j) to[i + j] = v[j];
  }
}

// Block (tile, piece, part) sums k from piece * length on, so that a long sum can be shared out;
// length is a multiple of BK. Two blocks fit on a multiprocessor: one multiplies while the other
// waits for its tiles.
template <class Tile, int Width, class Problem>
__global__ void __launch_bounds__(Tile::kThreads, 2)
    gemm(const __grid_constant__ Problem problem, int column_tiles, int length) {
  using A = typename Problem::A;
  using B = typename Problem::B;
  constexpr int BM = Tile::kBM, BN = Tile::kBN, BK = Tile::kBK, TM = Tile::kTM, TN = Tile::kTN;
  // Of a thread's columns four lie together, the next four a whole row of threads on: neighbouring
  // threads read and store neighbouring packs.
  constexpr int kTogether = min(TN, 4), kApart = BN / TN * kTogether, kRowPack = min(TM, 4);
  TAPESCOPE_SHARED(float, tile_a, [place_in_tile<BM>(BK, 0)]);
  TAPESCOPE_SHARED(float, tile_b, [place_in_tile<BN>(BK, 0)]);
  const auto& p = problem.part(static_cast<int>(blockIdx.z));
  const int m0 = static_cast<int>(blockIdx.x) / column_tiles * BM;
  const int n0 = static_cast<int>(blockIdx.x) % column_tiles * BN;
  if (m0 >= p.store.M) return;  // a smaller part than others
  const int column = static_cast<int>(threadIdx.x) % (BN / TN) * kTogether;
  const int row = static_cast<int>(threadIdx.x) / (BN / TN) * TM;
  const int piece = static_cast<int>(blockIdx.y);
  const int begin = piece * length, end = begin + min(length, p.K - begin);
  TileShare<A, BM, BK, Width, Tile::kThreads> share_a(p.a, m0, begin);
  TileShare<B, BN, BK, Width, Tile::kThreads> share_b(p.b, n0, begin);
  float sum[TM][TN] = {};
  for (int k0 = begin; k0 < end; k0 += BK) {
    load_tile<BM, Width, A::kAlongK>(share_a, &tile_a[0]);
    load_tile<BN, Width, B::kAlongK>(share_b, &tile_b[0]);
    __syncthreads();
    TAPESCOPE_UNROLL
    for (int k = 0; k < BK; ++k) {
      float x[TM], y[TN];
      read_tile<BM, kRowPack, kRowPack>(&tile_a[0], k, row, x);
      read_tile<BN, kTogether, kApart>(&tile_b[0], k, column, y);
      TAPESCOPE_UNROLL
      for (int i = 0; i < TM; ++i) {
        TAPESCOPE_UNROLL
        for (int j = 0; j < TN; ++j) sum[i][j] += x[i] * y[j];
      }
    }
    __syncthreads();
  }
  TAPESCOPE_UNROLL
  for (int j = 0; j < TN; j += kTogether) {
    const int n = n0 + column + j / kTogether * kApart;
    float bias[kTogether] = {};
    if (p.store.bias != nullptr) {
      for (int i = 0; i < kTogether; ++i) bias[i] = n + i < p.store.N ? p.store.bias[n + i] : 0;
    }
    TAPESCOPE_UNROLL
    for (int i = 0; i < TM; ++i) {
      float values[kTogether];
      TAPESCOPE_UNROLL
      for (int k = 0; k < kTogether; ++k) values[k] = sum[i][j + k] + bias[k];
      store_neighbours(p.store, m0 + row + i, n, piece,
                       rounded<typename Problem::Store::T>(values));
    }
  }
}

template <class Tile, int Width, class Problem>
void launch_gemm(const Queue& queue, Problem problem, int pieces = 1, int length = 0x7fffffff) {
  problem.step(Tile::kBK);
  const int column_tiles = ceil_div(problem.store.N, Tile::kBN);
  const dim3 grid(static_cast<unsigned>(ceil_div(problem.rows(), Tile::kBM) * column_tiles),
                  static_cast<unsigned>(pieces), static_cast<unsigned>(problem.parts()));
  launch<gemm<Tile, Width, Problem>>(queue, grid, Tile::kThreads, 0, problem, column_tiles, length);
}

// The tiles that rungs use.
using ScalarTile = GemmTile<16, 16, 16, 1, 1>;  // one result per thread: shared memory alone
using SmallTile = GemmTile<64, 64, 16, 4, 4>;
using NarrowTile = GemmTile<128, 32, 16, 4, 4>;  // few columns
using LargeTile = GemmTile<128, 128, 16, 8, 8>;

// The register-blocked product, its tile chosen by the number of columns; Width is 16 bytes where
// `wide` says that operands lie so.
template <class Problem>
void launch_blocked_gemm(const Queue& queue, bool wide, const Problem& problem, int pieces = 1,
                         int length = 0x7fffffff) {
  using T = typename Problem::A::T;
  constexpr int kWidth = kPackWidth<T>;
  const int N = problem.store.N;
  if (!wide) {
    launch_gemm<SmallTile, 1>(queue, problem, pieces, length);
  } else if constexpr (sizeof(T) == 4) {
    if (N <= NarrowTile::kBN) {
      launch_gemm<NarrowTile, kWidth>(queue, problem, pieces, length);
    } else if (N < LargeTile::kBN) {
      launch_gemm<SmallTile, kWidth>(queue, problem, pieces, length);
    } else {
      launch_gemm<LargeTile, kWidth>(queue, problem, pieces, length);
    }
  } else {  // bf16 has tensor cores: this is the rung before them
    launch_gemm<SmallTile, kWidth>(queue, problem, pieces, length);
  }
}

}  // namespace tapescope::TAPESCOPE_GPU
