// The matrix product of bf16 on Hopper that matmul and the convolutions share:
//
//   c[m, n] = sum_k A(m, k) * B(n, k)
//
// A block of three warpgroups stays for the whole launch and takes one tile of results, 128 x 256
// at the most, after the other. The first warpgroup is the producer: one of its threads asks for
// copies by tensor map, 64 of k at a time, into a ring of stages in shared memory. The other two
// are consumers: each multiplies half of the tile, straight from shared memory, and holds its sums
// in registers. A stage has two mbarriers: `full` ends a phase when the copies' bytes are there,
// `empty` when all eight warps of the consumers are done with them. So no thread computes an
// address in the loop over k, and the producer runs ahead into the next tile while the consumers
// write this one.
//
// An operand is zero past its ends, and has
//   kAlongK                       whether neighbours in k lie together in memory, or those in m (n)
//   Place place(int m, int step)  where the copies of a tile begin: at m, and at step * 64 of k
//   load(to, full, place)         asks for the next 64 of k, blocks of 64 x 64, and moves on
#pragma once

#include "kernels/common/gemm.h"
#include "kernels/common/hopper.h"

namespace tapescope::TAPESCOPE_GPU {

// Rows x Columns results. Of 128 rows each consumer has 64; of 64, each has half of the columns.
template <int Rows, int Columns>
struct HopperTile {
  static constexpr int kRows = Rows, kColumns = Columns, kDepth = 64;
  static constexpr int kConsumerColumns = Rows == 128 ? Columns : Columns / 2;
  static constexpr int kBytesOfA = Rows / 64 * kSwizzledBlock;
  static constexpr int kStageBytes = kBytesOfA + Columns / 64 * kSwizzledBlock;
  // As many as fit: 4 of 48 KiB (128 x 256), 5 of 40, 7 of 32, 8 of 24.
  static constexpr int kStages = min(8, static_cast<int>(kHopperSharedBytes - 1024) / kStageBytes);
  static constexpr std::size_t kShared = kStages * (kStageBytes + 2 * sizeof(Mbarrier));
  static_assert((Rows == 128 || Rows == 64) && kShared <= kHopperSharedBytes);
};
constexpr unsigned kHopperThreads = 3 * kWarpGroup;
// Registers of a thread: 128 x (40 + 232 + 232) are the multiprocessor's 64 Ki. The sums of a
// consumer are 128 of its 232.
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;

// A stored matrix, by a two-dimensional map: {m, k}, or {k, m}. Blocks: of 64, of a tile.
template <bool AlongK, int Blocks>
struct MappedMatrix {
  static constexpr bool kAlongK = AlongK;
  TensorMap map;

  struct Place {
    int outer, k;
  };
  __device__ Place place(int outer, int step) const { return {outer, step * 64}; }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    if constexpr (AlongK) {
      copy_tile(to, map, full, at.k, at.outer);
    } else {
      TAPESCOPE_UNROLL
      for (int b = 0; b < Blocks; ++b) {
        copy_tile(to + b * kSwizzledBlock, map, full, at.outer + b * 64, at.k);
      }
    }
    at.k += 64;
  }
};
template <bool AlongK, int Blocks>
MappedMatrix<AlongK, Blocks> mapped_matrix(const void* data, std::int64_t outer, std::int64_t k) {
  return {tensor_map(AlongK ? matrix_view(data, outer, k, Blocks * 64)
                            : matrix_view(data, k, outer, 64))};
}

// Which tile, and which part of the sum over k.
struct TilePlace {
  int m, n, piece, first_step, last_step;
};
// All tiles of a launch, numbered so that blocks at work side by side share rows and columns: bands
// of at most 16 columns of tiles, row by row.
struct TileGrid {
  int row_tiles, column_tiles, pieces, steps, steps_of_piece;

  __host__ __device__ int count() const { return row_tiles * column_tiles * pieces; }
  template <class Tile>
  __device__ TilePlace place(int tile) const {
    constexpr int kBand = 16;
    const int piece = tile / (row_tiles * column_tiles);
    tile -= piece * row_tiles * column_tiles;
    const int band = tile / (kBand * row_tiles), width = min(kBand, column_tiles - band * kBand);
    tile -= band * kBand * row_tiles;
    const int first = piece * steps_of_piece;
    return {tile / width * Tile::kRows, (band * kBand + tile % width) * Tile::kColumns, piece,
            first, min(first + steps_of_piece, steps)};
  }
};

// The place in a ring, and how often it has come round: what mbarriers' parities follow.
template <int stages>
struct RingPlace {
  int stage = 0;
  unsigned round = 0;  // its parity
  __device__ void advance() {
    if (++stage == stages) stage = 0, round ^= 1u;
  }
};

// Four lanes with four registers each: register j of lane t and register t of lane j change places.
__device__ __forceinline__ void transpose_quad(unsigned (&x)[4]) {
  const unsigned t = threadIdx.x % 4;
  TAPESCOPE_UNROLL
  for (int j = 0; j < 4; j += 2) {
    const unsigned got = __shfl_xor_sync(kFullMask, t & 1u ? x[j] : x[j + 1], 1);
    (t & 1u ? x[j] : x[j + 1]) = got;
  }
  TAPESCOPE_UNROLL
  for (int j = 0; j < 2; ++j) {
    const unsigned got = __shfl_xor_sync(kFullMask, t & 2u ? x[j] : x[j + 2], 2);
    (t & 2u ? x[j] : x[j + 2]) = got;
  }
}

// Which row of c takes row m of the product.
struct EveryRow {
  __device__ std::int64_t operator()(int m) const { return m; }
};

// What becomes of a consumer's sums: c {M, N} of C, with an optional bias {N}; N is a multiple of 8
// and c aligned to 16.
template <class C, class RowOf = EveryRow>
struct TileStore {
  C* c;
  const float* bias;
  int M, N;
  RowOf row_of = {};

  // d: results of the 64 rows from m, the columns from n, as wgmma leaves them.
  template <int registers>
  __device__ void operator()(int m, int n, int /*piece*/, const float (&d)[registers]) const {
    const int thread = static_cast<int>(threadIdx.x % kWarpGroup), quad = thread % 4;
    C* rows[2];  // a thread has results of two, null past the end
    TAPESCOPE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = m + thread / 32 * 16 + thread % 32 / 4 + half * 8;
      rows[half] = row < M ? c + row_of(row) * N : nullptr;
    }
    TAPESCOPE_UNROLL
    for (int g = 0; g < registers / 16; ++g) {  // 32 columns: four times 8, of each two are ours
      float y[2][8];
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int column = n + g * 32 + j * 8 + quad * 2;
        const bool biased = bias != nullptr && column < N;
        TAPESCOPE_UNROLL
        for (int i = 0; i < 2; ++i) {
          const float b = biased ? bias[column + i] : 0.0f;
          y[0][j * 2 + i] = d[g * 16 + j * 4 + i] + b;
          y[1][j * 2 + i] = d[g * 16 + j * 4 + 2 + i] + b;
        }
      }
      TAPESCOPE_UNROLL
      for (int half = 0; half < 2; ++half) write(rows[half], n + g * 32, y[half], quad);
    }
  }

 private:
  // A lane's two columns of each of four groups of 8.
  __device__ void write(C* row, int n, const float (&y)[8], int quad) const {
    if constexpr (sizeof(C) == 2) {  // each lane collects one group: 16 bytes
      Pack<unsigned, 4> pairs;
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) pairs[j] = pack_bf16(y[j * 2], y[j * 2 + 1]);
      transpose_quad(pairs.values);
      const int column = n + quad * 8;
      if (row != nullptr && column < N)
        store_pack(reinterpret_cast<unsigned*>(row + column), pairs);
    } else {  // the four lanes' 8 bytes are a sector
      TAPESCOPE_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int column = n + j * 8 + quad * 2;
        if (row != nullptr && column < N) {
          store_pack(row + column, Pack<float, 2>{{y[j * 2], y[j * 2 + 1]}});
        }
      }
    }
  }
};

template <class Tile, class A, class B, class Store>
__global__ void __launch_bounds__(kHopperThreads, 1)
    hopper_gemm(const __grid_constant__ A a, const __grid_constant__ B b, Store store,
                TileGrid tiles) {
#if TAPESCOPE_HOPPER
  TAPESCOPE_SWIZZLED_SHARED(stages);
  auto* const full = reinterpret_cast<Mbarrier*>(stages + Tile::kStages * Tile::kStageBytes);
  Mbarrier* const empty = full + Tile::kStages;
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s, 1);
      mbarrier_init(empty + s, 2 * kWarpGroup / kWarp);
    }
    publish_barriers();
  }
  __syncthreads();
  const int first = static_cast<int>(blockIdx.x), step_of_tiles = static_cast<int>(gridDim.x);
  RingPlace<Tile::kStages> at;
  if (threadIdx.x < kWarpGroup) {
    release_registers<kProducerRegisters>();
    if (threadIdx.x != 0) return;
    for (int tile = first; tile < tiles.count(); tile += step_of_tiles) {
      const TilePlace place = tiles.place<Tile>(tile);
      if (place.first_step >= place.last_step) continue;  // a sum of nothing
      auto from_a = a.place(place.m, place.first_step);
      auto from_b = b.place(place.n, place.first_step);
      for (int step = place.first_step; step < place.last_step; ++step) {
        mbarrier_wait(empty + at.stage, at.round ^ 1u);  // at first they are empty
        mbarrier_arrive_expect(full + at.stage, Tile::kStageBytes);
        unsigned char* const to = stages + at.stage * Tile::kStageBytes;
        a.load(to, full + at.stage, from_a);
        b.load(to + Tile::kBytesOfA, full + at.stage, from_b);
        at.advance();
      }
    }
    return;
  }
  claim_registers<kConsumerRegisters>();
  const int consumer = static_cast<int>(threadIdx.x / kWarpGroup) - 1;
  const bool tells = threadIdx.x % kWarp == 0;
  // This consumer's half of a tile, and where it begins in a stage.
  const int own_rows = Tile::kRows == 128 ? consumer * 64 : 0;
  const int own_columns = Tile::kRows == 128 ? 0 : consumer * Tile::kConsumerColumns;
  const auto own_a = static_cast<unsigned>(own_rows / 64 * kSwizzledBlock);
  const auto own_b = static_cast<unsigned>(own_columns / 64 * kSwizzledBlock);
  for (int tile = first; tile < tiles.count(); tile += step_of_tiles) {
    const TilePlace place = tiles.place<Tile>(tile);
    float d[Tile::kConsumerColumns / 2] = {};
    int before = -1;
    for (int step = place.first_step; step < place.last_step; ++step) {
      mbarrier_wait(full + at.stage, at.round);
      const unsigned from = shared_address(stages + at.stage * Tile::kStageBytes);
      const std::uint64_t tile_a = matrix_descriptor<A::kAlongK>(from + own_a);
      const std::uint64_t tile_b = matrix_descriptor<B::kAlongK>(from + Tile::kBytesOfA + own_b);
      keep_in_registers(d);
      wgmma_fence();
      TAPESCOPE_UNROLL
      for (unsigned k = 0; k < Tile::kDepth / 16; ++k) {
        wgmma_bf16<Tile::kConsumerColumns, !A::kAlongK, !B::kAlongK>(
            d, tile_a + k * kDescriptorStep<A::kAlongK>, tile_b + k * kDescriptorStep<B::kAlongK>,
            true);
      }
      wgmma_commit();
      // While these multiply, those of the step before are done, and so is their stage.
      wgmma_wait<1>();
      if (before >= 0 && tells) mbarrier_arrive(empty + before);
      before = at.stage;
      at.advance();
    }
    wgmma_wait<0>();
    keep_in_registers(d);
    if (before >= 0 && tells) mbarrier_arrive(empty + before);
    store(place.m + own_rows, place.n + own_columns, place.piece, d);
  }
#endif
}

template <class Tile, class A, class B, class Store>
void launch_hopper_tile(const Queue& queue, const A& a, const B& b, const Store& store, int M,
                        int N, int steps, int pieces) {
  const TileGrid tiles{ceil_div(M, Tile::kRows), ceil_div(N, Tile::kColumns), pieces, steps,
                       ceil_div(steps, pieces)};
  launch_on_hopper<hopper_gemm<Tile, A, B, Store>>(
      queue, static_cast<unsigned>(min(tiles.count(), multiprocessors())), kHopperThreads,
      Tile::kShared, a, b, store, tiles);
}

// How many columns a tile should have: those that take the least time where all multiprocessors
// take a tile at a time, which is as many rounds as there are, of so many columns. Sums are added
// up in the same order whatever the tile.
inline int hopper_columns(int M, int N, int pieces = 1) {
  int best = 0;
  std::int64_t least = 0;
  for (const int columns : {256, 128, 64}) {
    const std::int64_t tiles = std::int64_t{ceil_div(M, 128)} * ceil_div(N, columns) * pieces;
    const std::int64_t time = ceil_div<std::int64_t>(tiles, multiprocessors()) * columns;
    if (best == 0 || time < least) best = columns, least = time;
  }
  return best;
}
// Calls f.template operator()<Columns>() with them.
template <class F>
void with_hopper_columns(int columns, F&& f) {
  if (columns == 256) {
    f.template operator()<256>();
  } else if (columns == 128) {
    f.template operator()<128>();
  } else {
    f.template operator()<64>();
  }
}

}  // namespace tapescope::TAPESCOPE_GPU
