// The matrix product on tensor cores that matmul and the implicit-GEMM convolutions share:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// Operands are those of gemm.h. Tiles of A and B go from global to shared memory by cp.async, three
// steps deep: while the tensor cores multiply one, the next two are on their way, and no register
// holds them in between. A tile keeps its elements' own dtype and lies as the operand does: rows of
// BK where neighbours in k lie together, rows of the outer index otherwise; ldmatrix turns the
// second kind while it reads. Rows are padded so that the eight rows of a matrix start in different
// banks.
#pragma once

#include "kernels/common/gemm.h"
#include "kernels/common/tensor_core.h"

namespace tapescope::TAPESCOPE_GPU {

// BM x BN results per block of WarpRows x WarpColumns warps, BK elements of k per step.
template <int BM, int BN, int WarpRows, int WarpColumns>
struct TensorTile {
  static constexpr int kBM = BM, kBN = BN, kWarpRows = WarpRows, kWarpColumns = WarpColumns;
  static constexpr int kThreads = WarpRows * WarpColumns * static_cast<int>(kWarp);
  static constexpr int kWarpM = BM / WarpRows, kWarpN = BN / WarpColumns;
  static constexpr int kStages = 3;
};
// 64 bytes of k: 32 bf16, 16 f32.
template <class T>
constexpr int kTensorBK = 64 / static_cast<int>(sizeof(T));

// One operand's tile in shared memory.
template <class Operand, int Outer>
struct TensorOperandTile {
  using T = typename Operand::T;
  static constexpr int BK = kTensorBK<T>, kWidth = kPackWidth<T>;
  static constexpr bool kAlongK = Operand::kAlongK;
  // The padding of the second kind: tf32 is read element by element, 8 rows apart in banks.
  static constexpr int kPitch = kAlongK ? BK + kWidth : Outer + (sizeof(T) == 4 ? 8 : kWidth);
  static constexpr int kElements = kAlongK ? Outer * kPitch : BK * kPitch;

  __device__ static int at(int outer, int k) {
    return kAlongK ? outer * kPitch + k : k * kPitch + outer;
  }
};

// One thread's share of bringing tiles in: the same places in every step.
template <class Operand, int Outer, int threads, bool wide>
class TensorTileLoader {
 public:
  using Tile = TensorOperandTile<Operand, Outer>;
  using T = typename Operand::T;
  __device__ TensorTileLoader(const Operand& operand, int first)
      : operand_(operand), first_(first) {
    if constexpr (wide) {
      TAPESCOPE_UNROLL
      for (int l = 0; l < kLoads; ++l) rows_[l] = operand.row(first + outer_of(pack_of(l)));
    }
  }

  // Asks for the tile that begins at k0.
  __device__ void load(int k0, T* tile) const {
    if constexpr (wide) {
      TAPESCOPE_UNROLL
      for (int l = 0; l < kLoads; ++l) {
        const int pack = pack_of(l);
        if (kPacks % threads != 0 && pack >= kPacks) continue;
        T* to = tile + Tile::at(outer_of(pack), k_of(pack));
        const T* from = operand_.address(rows_[l], k0 + k_of(pack));
        if (from != nullptr) {
          cp_async_16(to, from);
        } else {
          store_pack(to, Pack<T, Tile::kWidth>{});
        }
      }
    } else {  // element by element, where 16 bytes do not lie together or not on 16 bytes
      for (int i = static_cast<int>(threadIdx.x); i < Outer * Tile::BK; i += threads) {
        const int outer = Tile::kAlongK ? i / Tile::BK : i % Outer;
        const int k = Tile::kAlongK ? i % Tile::BK : i / Outer;
        const T* from = operand_.address(operand_.row(first_ + outer), k0 + k);
        tile[Tile::at(outer, k)] = from != nullptr ? *from : static_cast<T>(0.0f);
      }
    }
  }

 private:
  static constexpr int kPacks = Outer * Tile::BK / Tile::kWidth;
  static constexpr int kLoads = wide ? (kPacks + threads - 1) / threads : 1;
  static constexpr int kPacksOfK = Tile::BK / Tile::kWidth, kPacksOfOuter = Outer / Tile::kWidth;
  __device__ static int pack_of(int l) { return l * threads + static_cast<int>(threadIdx.x); }
  __device__ static int outer_of(int pack) {
    return Tile::kAlongK ? pack / kPacksOfK : pack % kPacksOfOuter * Tile::kWidth;
  }
  __device__ static int k_of(int pack) {
    return Tile::kAlongK ? pack % kPacksOfK * Tile::kWidth : pack / kPacksOfOuter;
  }
  const Operand& operand_;
  int first_;
  typename Operand::Row rows_[kLoads];
};

// The fragments of one warp, from shared memory. bf16: 16 of k at a time, by ldmatrix.
template <class Tile>
__device__ void load_fragment_a(unsigned (&a)[4], const bf16* tile, int m, int k) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), row = lane % 8, matrix = lane / 8;
  // Registers: rows 0-7 then 8-15 of the first eight k, then of the next eight.
  const int outer = m + matrix % 2 * 8, inner = k + matrix / 2 * 8;
  if constexpr (Tile::kAlongK) {
    ldmatrix_x4<false>(a, tile + Tile::at(outer + row, inner));
  } else {
    ldmatrix_x4<true>(a, tile + Tile::at(outer, inner + row));
  }
}
// Two neighbouring fragments of B, columns n to n + 7 and n + 8 to n + 15.
template <class Tile>
__device__ void load_fragments_b(unsigned (&b)[2][2], const bf16* tile, int n, int k) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), row = lane % 8, matrix = lane / 8;
  const int outer = n + matrix / 2 * 8, inner = k + matrix % 2 * 8;
  unsigned r[4];
  if constexpr (Tile::kAlongK) {
    ldmatrix_x4<false>(r, tile + Tile::at(outer + row, inner));
  } else {
    ldmatrix_x4<true>(r, tile + Tile::at(outer, inner + row));
  }
  b[0][0] = r[0];
  b[0][1] = r[1];
  b[1][0] = r[2];
  b[1][1] = r[3];
}
// tf32: 8 of k at a time, element by element, rounded on the way.
template <class Tile>
__device__ void load_fragment_a(unsigned (&a)[4], const float* tile, int m, int k) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), g = lane / 4, t = lane % 4;
  TAPESCOPE_UNROLL
  for (int i = 0; i < 4; ++i) a[i] = to_tf32(tile[Tile::at(m + g + i % 2 * 8, k + t + i / 2 * 4)]);
}
template <class Tile>
__device__ void load_fragments_b(unsigned (&b)[2][2], const float* tile, int n, int k) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), g = lane / 4, t = lane % 4;
  TAPESCOPE_UNROLL
  for (int j = 0; j < 2; ++j) {
    TAPESCOPE_UNROLL
    for (int i = 0; i < 2; ++i) b[j][i] = to_tf32(tile[Tile::at(n + g + j * 8, k + t + i * 4)]);
  }
}
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2], bf16) {
  mma_m16n8k16_bf16(d, a, b);
}
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2], float) {
  mma_m16n8k8_tf32(d, a, b);
}

// `store` and the pieces are those of gemm.h; `length` is a multiple of BK.
template <class Tile, bool wide, class A, class B, class Store>
__global__ void __launch_bounds__(Tile::kThreads)
    tensor_gemm(A a, B b, Store store, int column_tiles, int K, int length) {
  using T = typename A::T;
  using TileA = TensorOperandTile<A, Tile::kBM>;
  using TileB = TensorOperandTile<B, Tile::kBN>;
  constexpr int BK = kTensorBK<T>, kStep = sizeof(T) == 2 ? 16 : 8;  // k of one multiply-add
  constexpr int kRows = Tile::kWarpM / 16, kColumns = Tile::kWarpN / 8, kStages = Tile::kStages;
  TAPESCOPE_DYNAMIC_SHARED(T, shared);
  T* const tiles_a = shared;                               // {stages, ...}
  T* const tiles_b = shared + kStages * TileA::kElements;  // {stages, ...}
  const int m0 = static_cast<int>(blockIdx.x) / column_tiles * Tile::kBM;
  const int n0 = static_cast<int>(blockIdx.x) % column_tiles * Tile::kBN;
  const int warp = static_cast<int>(threadIdx.x / kWarp),
            lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp_m = warp / Tile::kWarpColumns * Tile::kWarpM;
  const int warp_n = warp % Tile::kWarpColumns * Tile::kWarpN;
  const TensorTileLoader<A, Tile::kBM, Tile::kThreads, wide> load_a(a, m0);
  const TensorTileLoader<B, Tile::kBN, Tile::kThreads, wide> load_b(b, n0);
  const int begin = static_cast<int>(blockIdx.y) * length, end = begin + min(length, K - begin);
  const int steps = (end - begin + BK - 1) / BK;
  const auto ask = [&](int step) {
    const int stage = step % kStages;
    if (step < steps) {
      load_a.load(begin + step * BK, tiles_a + stage * TileA::kElements);
      load_b.load(begin + step * BK, tiles_b + stage * TileB::kElements);
    }
    cp_async_commit();  // an empty group where there is nothing left, so that counts stay right
  };
  for (int step = 0; step < kStages - 1; ++step) ask(step);

  float sum[kRows][kColumns][4] = {};
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // everybody's copies are in, and everybody is done with the stage asked for
    ask(step + kStages - 1);
    const T* tile_a = tiles_a + step % kStages * TileA::kElements;
    const T* tile_b = tiles_b + step % kStages * TileB::kElements;
    TAPESCOPE_UNROLL
    for (int k = 0; k < BK; k += kStep) {
      unsigned x[kRows][4], y[kColumns][2];
      TAPESCOPE_UNROLL
      for (int i = 0; i < kRows; ++i) load_fragment_a<TileA>(x[i], tile_a, warp_m + i * 16, k);
      TAPESCOPE_UNROLL
      for (int j = 0; j < kColumns; j += 2) {
        unsigned pair[2][2];
        load_fragments_b<TileB>(pair, tile_b, warp_n + j * 8, k);
        TAPESCOPE_UNROLL
        for (int i = 0; i < 2; ++i) {
          y[j][i] = pair[0][i];
          y[j + 1][i] = pair[1][i];
        }
      }
      TAPESCOPE_UNROLL
      for (int i = 0; i < kRows; ++i) {
        TAPESCOPE_UNROLL
        for (int j = 0; j < kColumns; ++j) multiply_add(sum[i][j], x[i], y[j], T());
      }
    }
  }
  cp_async_wait<0>();
  TAPESCOPE_UNROLL
  for (int i = 0; i < kRows; ++i) {
    TAPESCOPE_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      TAPESCOPE_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int m = m0 + warp_m + i * 16 + lane / 4 + r / 2 * 8;
        const int n = n0 + warp_n + j * 8 + lane % 4 * 2 + r % 2;
        store(m, n, static_cast<int>(blockIdx.y), sum[i][j][r]);
      }
    }
  }
}

using SmallTensorTile = TensorTile<64, 64, 2, 2>;    // a warp 32 x 32
using LargeTensorTile = TensorTile<128, 128, 2, 4>;  // a warp 64 x 32

template <class Tile, bool wide, class A, class B, class Store>
void launch_tensor_tile(const Queue& queue, const A& a, const B& b, const Store& store, int M,
                        int N, int K, int pieces, int length) {
  constexpr std::size_t kShared =
      sizeof(typename A::T) * Tile::kStages *
      (TensorOperandTile<A, Tile::kBM>::kElements + TensorOperandTile<B, Tile::kBN>::kElements);
  static_assert(kShared <= kMaxSharedBytes);
  const int column_tiles = ceil_div(N, Tile::kBN);
  const dim3 grid(static_cast<unsigned>(ceil_div(M, Tile::kBM) * column_tiles),
                  static_cast<unsigned>(pieces));
  launch<tensor_gemm<Tile, wide, A, B, Store>>(queue, grid, Tile::kThreads, kShared, a, b, store,
                                               column_tiles, K, length);
}

// The tile is chosen by the number of columns; `wide` says that 16 bytes lie together and aligned.
template <class A, class B, class Store>
void launch_tensor_gemm(const Queue& queue, bool wide, const A& a, const B& b, const Store& store,
                        int M, int N, int K, int pieces = 1, int length = 0x7fffffff) {
  if (!wide) {
    launch_tensor_tile<SmallTensorTile, false>(queue, a, b, store, M, N, K, pieces, length);
  } else if (N < LargeTensorTile::kBN) {
    launch_tensor_tile<SmallTensorTile, true>(queue, a, b, store, M, N, K, pieces, length);
  } else {
    launch_tensor_tile<LargeTensorTile, true>(queue, a, b, store, M, N, K, pieces, length);
  }
}

// tf32 keeps 10 of f32's 23 mantissa bits: each operand is rounded by at most 2^-11 of itself, a
// product so by 2^-10, which is 2^14 units of f32. The smallest budget, of a single product, is 8
// units and more: 2^14 / 8.
constexpr double kTf32ErrorFactor = 2048;

}  // namespace tapescope::TAPESCOPE_GPU
