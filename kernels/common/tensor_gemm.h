// The matrix product on tensor cores that matmul and the implicit-GEMM convolutions share:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// Operands are those of gemm_operands.h. Tiles of A and B go from global to shared memory by
// cp.async, three steps deep: while the tensor cores multiply one, the next two are on their way,
// and no register holds them in between. A tile keeps its elements' own dtype and lies as the
// operand does: rows of BK where neighbours in k lie together, rows of the outer index otherwise;
// ldmatrix turns the second kind while it reads. Rows are padded so that the eight rows of a matrix
// start in different banks.
#pragma once

#include "kernels/common/gemm_operands.h"
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

// Asks for the share's packs of the tile, Width elements each, and moves on.
template <class Tile, int Width, class Share>
__device__ __forceinline__ void ask_tile(Share& share, typename Tile::T* tile) {
  constexpr int kApart = Share::kRowsApart * Tile::kPitch;  // from one pack to the next
  typename Tile::T* const to = tile + Tile::at(share.outer_of(0), share.k_of(0));
  TAPESCOPE_UNROLL
  for (int l = 0; l < Share::kLoads; ++l) {
    if (!share.has(l)) continue;
    const bool inside = share.inside(l);
    const auto* from = share.at(l);
    if constexpr (Width == Tile::kWidth) {
      cp_async_16_or_zero(to + l * kApart, from, inside);
    } else {  // where 16 bytes do not lie together or not on 16 bytes
      to[l * kApart] = inside ? *from : typename Tile::T{};
    }
  }
  share.advance();
}

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

// --- the way out ---
//
// A fragment's lane holds two neighbours of a row. Sixteen rows of every warp at a time pass
// through shared memory, in two buffers that take turns, and leave in packs of 16 bytes.
template <class Tile, class T>
constexpr int kStorePitch = Tile::kBN + (sizeof(T) == 4 ? 8 : kPackWidth<T>);
template <class Tile, class T>
constexpr int kStoreRows = Tile::kWarpRows * 16;
template <class Tile, class T>
constexpr std::size_t kStoreBytes = 2 * kStoreRows<Tile, T>* kStorePitch<Tile, T> * sizeof(T);

template <class Tile, class Store, int rows, int columns>
__device__ void store_tile(const Store& store, const float (&sum)[rows][columns][4], int m0, int n0,
                           int piece, unsigned char* shared) {
  using T = typename Store::T;
  constexpr int kWidth = kPackWidth<T>, kPitch = kStorePitch<Tile, T>;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % static_cast<int>(kWarp);
  const int warp = thread / static_cast<int>(kWarp);
  const int to_row = warp / Tile::kWarpColumns * 16 + lane / 4;
  const int to_column = warp % Tile::kWarpColumns * Tile::kWarpN + lane % 4 * 2;
  float bias[columns][2] = {};
  if (store.bias != nullptr) {
    TAPESCOPE_UNROLL
    for (int j = 0; j < columns; ++j) {
      const int n = n0 + to_column + j * 8;
      if (n < store.N) bias[j][0] = store.bias[n];
      if (n + 1 < store.N) bias[j][1] = store.bias[n + 1];
    }
  }
  TAPESCOPE_UNROLL
  for (int i = 0; i < rows; ++i) {
    T* const buffer = reinterpret_cast<T*>(shared) + i % 2 * kStoreRows<Tile, T> * kPitch;
    TAPESCOPE_UNROLL
    for (int j = 0; j < columns; ++j) {
      TAPESCOPE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float pair[2] = {sum[i][j][half * 2] + bias[j][0],
                               sum[i][j][half * 2 + 1] + bias[j][1]};
        store_pack(buffer + (to_row + half * 8) * kPitch + to_column + j * 8, rounded<T>(pair));
      }
    }
    __syncthreads();
    constexpr int kPacksOfRow = Tile::kBN / kWidth;
    TAPESCOPE_UNROLL
    for (int pack = 0; pack < kStoreRows<Tile, T> * kPacksOfRow; pack += Tile::kThreads) {
      const int at = pack + thread, row = at / kPacksOfRow, column = at % kPacksOfRow * kWidth;
      static_assert(kStoreRows<Tile, T> * kPacksOfRow % Tile::kThreads == 0);
      const int m = m0 + row / 16 * Tile::kWarpM + i * 16 + row % 16;
      store_neighbours(store, m, n0 + column, piece,
                       load_pack<T, kWidth>(buffer + row * kPitch + column));
    }
  }
}

// Pieces and parts are those of gemm.h; `length` is a multiple of BK.
template <class Tile, bool wide, class Problem>
__global__ void __launch_bounds__(Tile::kThreads)
    tensor_gemm(const __grid_constant__ Problem problem, int column_tiles, int length) {
  using A = typename Problem::A;
  using B = typename Problem::B;
  using T = typename A::T;
  using TileA = TensorOperandTile<A, Tile::kBM>;
  using TileB = TensorOperandTile<B, Tile::kBN>;
  constexpr int BK = kTensorBK<T>, kStep = sizeof(T) == 2 ? 16 : 8;  // k of one multiply-add
  constexpr int kRows = Tile::kWarpM / 16, kColumns = Tile::kWarpN / 8, kStages = Tile::kStages;
  constexpr int kWidth = wide ? kPackWidth<T> : 1, kStage = TileA::kElements + TileB::kElements;
  TAPESCOPE_DYNAMIC_SHARED(T, shared);  // {stages, tile of A and tile of B}
  const auto& p = problem.part(static_cast<int>(blockIdx.z));
  const int m0 = static_cast<int>(blockIdx.x) / column_tiles * Tile::kBM;
  const int n0 = static_cast<int>(blockIdx.x) % column_tiles * Tile::kBN;
  if (m0 >= p.store.M) return;  // a smaller part than others
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int warp_m = warp / Tile::kWarpColumns * Tile::kWarpM;
  const int warp_n = warp % Tile::kWarpColumns * Tile::kWarpN;
  const int piece = static_cast<int>(blockIdx.y);
  const int begin = piece * length, end = begin + min(length, p.K - begin);
  TileShare<A, Tile::kBM, BK, kWidth, Tile::kThreads> share_a(p.a, m0, begin);
  TileShare<B, Tile::kBN, BK, kWidth, Tile::kThreads> share_b(p.b, n0, begin);
  int to_ask = (end - begin + BK - 1) / BK;
  const auto ask = [&](T* stage) {
    if (to_ask > 0) {
      ask_tile<TileA, kWidth>(share_a, stage);
      ask_tile<TileB, kWidth>(share_b, stage + TileA::kElements);
    }
    --to_ask;
    cp_async_commit();  // an empty group where there is nothing left, so that counts stay right
  };
  TAPESCOPE_UNROLL
  for (int stage = 0; stage < kStages - 1; ++stage) ask(shared + stage * kStage);

  float sum[kRows][kColumns][4] = {};
  int reading = 0, asking = (kStages - 1) * kStage;  // stages take turns
  const auto next = [](int stage) { return stage == (kStages - 1) * kStage ? 0 : stage + kStage; };
  while (to_ask > 1 - kStages) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // everybody's copies are in, and everybody is done with the stage asked for
    ask(shared + asking);
    asking = next(asking);
    const T* tile_a = shared + reading;
    const T* tile_b = tile_a + TileA::kElements;
    reading = next(reading);
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
  __syncthreads();  // the stages are free
  store_tile<Tile>(p.store, sum, m0, n0, piece, reinterpret_cast<unsigned char*>(shared));
}

using SmallTensorTile = TensorTile<64, 64, 2, 2>;    // a warp 32 x 32
using NarrowTensorTile = TensorTile<128, 32, 4, 1>;  // the same, for few columns
using LargeTensorTile = TensorTile<128, 128, 2, 4>;  // a warp 64 x 32

// The tile that a product {M, N} is cut into: the one whose blocks take least, in rounds of one a
// multiprocessor. Where the sum over k is cut as well (into as many pieces as fill the last round)
// all rounds are full. An H100's multiprocessors are reckoned with on every machine: how a sum is
// cut, and so its bits, does not depend on the machine.
enum class TensorTiles { small, narrow, large };
constexpr std::int64_t kMultiprocessors = 132;
inline TensorTiles tensor_tile_for(std::int64_t M, std::int64_t N, bool cut = false) {
  constexpr double kSmallCost =
      0.36;  // of the large tile's: a quarter, but operands are read twice
  const auto rounds = [&](std::int64_t rows, std::int64_t columns) {
    const std::int64_t tiles = ceil_div(M, rows) * ceil_div(N, columns);
    return static_cast<double>(cut ? tiles : ceil_div(tiles, kMultiprocessors));
  };
  if (N <= NarrowTensorTile::kBN) return TensorTiles::narrow;
  const double large = rounds(LargeTensorTile::kBM, LargeTensorTile::kBN);
  return large <= kSmallCost * rounds(SmallTensorTile::kBM, SmallTensorTile::kBN)
             ? TensorTiles::large
             : TensorTiles::small;
}

template <class Tile, bool wide, class Problem>
void launch_tensor_tile(const Queue& queue, Problem problem, int pieces, int length) {
  using A = typename Problem::A;
  using B = typename Problem::B;
  constexpr std::size_t kShared =
      sizeof(typename A::T) * Tile::kStages *
      (TensorOperandTile<A, Tile::kBM>::kElements + TensorOperandTile<B, Tile::kBN>::kElements);
  static_assert(kShared <= kMaxSharedBytes);
  static_assert(kShared >= kStoreBytes<Tile, typename Problem::Store::T>);
  problem.step(kTensorBK<typename A::T>);
  const int column_tiles = ceil_div(problem.store.N, Tile::kBN);
  const dim3 grid(static_cast<unsigned>(ceil_div(problem.rows(), Tile::kBM) * column_tiles),
                  static_cast<unsigned>(pieces), static_cast<unsigned>(problem.parts()));
  launch<tensor_gemm<Tile, wide, Problem>>(queue, grid, Tile::kThreads, kShared, problem,
                                           column_tiles, length);
}

// `wide` says that 16 bytes of operands lie together and aligned.
template <class Problem>
void launch_tensor_gemm(const Queue& queue, bool wide, TensorTiles tile, const Problem& problem,
                        int pieces = 1, int length = 0x7fffffff) {
  if (!wide) {
    launch_tensor_tile<SmallTensorTile, false>(queue, problem, pieces, length);
  } else if (tile == TensorTiles::narrow) {
    launch_tensor_tile<NarrowTensorTile, true>(queue, problem, pieces, length);
  } else if (tile == TensorTiles::small) {
    launch_tensor_tile<SmallTensorTile, true>(queue, problem, pieces, length);
  } else {
    launch_tensor_tile<LargeTensorTile, true>(queue, problem, pieces, length);
  }
}

// tf32 keeps 10 of f32's 23 mantissa bits: each operand is rounded by at most 2^-11 of itself, a
// product so by 2^-10, which is 2^14 units of f32. The smallest budget, of a single product, is 8
// units and more: 2^14 / 8.
constexpr double kTf32ErrorFactor = 2048;

}  // namespace tapescope::TAPESCOPE_GPU
