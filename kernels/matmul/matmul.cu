// The matrix product on a GPU, in rungs. All add up over k in its order, one accumulator per
// result, so a row's bits do not depend on how many rows there are.
//
//   naive:      one thread per result. Every value of a is read N times and every value of b M
//               times, all from memory (or its caches).
//   tiled:      one block per 32 x 32 results: tiles of a and b pass through shared memory, so
//               memory is read a 32nd as often. Now shared memory is what all wait for: two reads
//               per multiply-add.
//   vectorized: 4 x 4 or 8 x 8 results per thread, in registers: 16 or 64 multiply-adds for 8 or 16
//               reads. Tiles are loaded 16 bytes at a time. See kernels/common/gemm.h.
//   tensor_core: tensor_core.cu
//   wgmma:       wgmma.cu
#include "kernels/matmul/matmul.h"

#include "kernels/common/gemm.h"
#include "kernels/common/hopper.h"
#include "kernels/common/tensor_gemm.h"
#include "kernels/matmul/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr int kTile = 32;

// Where op(a)[m, k] and op(b)[k, n] lie.
struct Layout {
  std::int64_t a_m, a_k, b_k, b_n;
};

// a: {M,K}, b: {K,N} (or as the layout says), bias: {N} or null, c: {M,N}
template <class T, class C>
__global__ void naive(const T* a, const T* b, const float* bias, C* c, std::int64_t M,
                      std::int64_t N, std::int64_t K, Layout at) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= M * N) return;
  const std::int64_t m = i / N, n = i % N;
  float sum = 0;
  for (std::int64_t k = 0; k < K; ++k) {
    sum += static_cast<float>(a[m * at.a_m + k * at.a_k]) *
           static_cast<float>(b[k * at.b_k + n * at.b_n]);
  }
  if (bias != nullptr) sum += bias[n];
  c[i] = static_cast<C>(sum);
}

// A block of 32 x 32 threads, one per result.
template <class T, class C>
__global__ void __launch_bounds__(kTile* kTile)
    tiled(const T* a, const T* b, const float* bias, C* c, std::int64_t M, std::int64_t N,
          std::int64_t K, Layout at, std::int64_t column_tiles) {
  TAPESCOPE_SHARED(float, tile_a, [kTile][kTile + 1]);
  TAPESCOPE_SHARED(float, tile_b, [kTile][kTile + 1]);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t m = blockIdx.x / column_tiles * kTile + y;
  const std::int64_t n = blockIdx.x % column_tiles * kTile + x;
  float sum = 0;
  for (std::int64_t k0 = 0; k0 < K; k0 += kTile) {
    // Past an end a tile is zero, and adds nothing.
    const bool inside_a = m < M && k0 + x < K, inside_b = n < N && k0 + y < K;
    tile_a[y][x] = inside_a ? static_cast<float>(a[m * at.a_m + (k0 + x) * at.a_k]) : 0.0f;
    tile_b[y][x] = inside_b ? static_cast<float>(b[(k0 + y) * at.b_k + n * at.b_n]) : 0.0f;
    __syncthreads();
    TAPESCOPE_UNROLL
    for (int k = 0; k < kTile; ++k) sum += tile_a[y][k] * tile_b[k][x];
    __syncthreads();
  }
  if (m >= M || n >= N) return;
  if (bias != nullptr) sum += bias[n];
  c[m * N + n] = static_cast<C>(sum);
}

// --- host ---

Layout layout_of(const MatmulShape& s) {
  return {s.transpose_a ? 1 : s.K, s.transpose_a ? s.M : 1, s.transpose_b ? 1 : s.N,
          s.transpose_b ? s.K : 1};
}

template <class T>
Plan naive_plan(const MatmulShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& buffers) {
    if (s.M * s.N == 0) return;
    constexpr unsigned kThreads = 256;
    const MatmulPointers<T> p(s, buffers);
    with_store(s, p, [&](const auto& to) {
      using C = std::remove_pointer_t<decltype(to.c)>;
      launch<naive<T, C>>(queue, blocks_for(s.M * s.N, kThreads), kThreads, 0, p.a, p.b, p.bias,
                          to.c, s.M, s.N, s.K, layout_of(s));
    });
  });
}

template <class T>
Plan tiled_plan(const MatmulShape& s) {
  return Plan("tiled", 0, [s](const Queue& queue, const Buffers& buffers) {
    if (s.M * s.N == 0) return;
    const MatmulPointers<T> p(s, buffers);
    const std::int64_t column_tiles = ceil_div<std::int64_t>(s.N, kTile);
    const std::int64_t tiles = ceil_div<std::int64_t>(s.M, kTile) * column_tiles;
    with_store(s, p, [&](const auto& to) {
      using C = std::remove_pointer_t<decltype(to.c)>;
      launch<tiled<T, C>>(queue, dim3(static_cast<unsigned>(tiles)), dim3(kTile, kTile), 0, p.a,
                          p.b, p.bias, to.c, s.M, s.N, s.K, layout_of(s), column_tiles);
    });
  });
}

template <class T>
Plan vectorized_plan(const MatmulShape& s) {
  return Plan("vectorized", 0, [s](const Queue& queue, const Buffers& buffers) {
    if (s.M * s.N == 0) return;
    const MatmulPointers<T> p(s, buffers);
    const bool wide = in_packs(s, p);
    with_product(s, p, [&](const auto& product) { launch_blocked_gemm(queue, wide, product); });
  });
}

template <auto for_f32, auto for_bf16>
Plan prepare(const MatmulShape& s) {
  return s.dtype == DType::bf16 ? for_bf16(s) : for_f32(s);
}

}  // namespace

Rows<MatmulShape> matmul_variants() {
  static const Variant<MatmulShape> rows[] = {
      {.name = "wgmma",
       .dtypes = {DType::bf16},
       .note =
           "Hopper: TMA fills a ring of stages, warpgroups multiply from there: no thread computes "
           "an address",
       .reason = hopper_reason(),
       .prepare = matmul_wgmma,
       .supports = matmul_fits_wgmma},
      {.name = "tensor_core",
       .dtypes = {DType::bf16},
       .note = "mma on bf16, tiles three steps deep by cp.async: no register waits for memory",
       .prepare = matmul_tensor_core,
       .supports = matmul_fits_int},
      {.name = "vectorized",
       .dtypes = kMatmulDTypes,
       .note = "4 x 4 or 8 x 8 results per thread in registers, 16-byte loads",
       .prepare = prepare<vectorized_plan<float>, vectorized_plan<bf16>>,
       .supports = matmul_fits_int},
      {.name = "tiled",
       .dtypes = kMatmulDTypes,
       .note = "32 x 32 tiles through shared memory: a 32nd of the reads",
       .prepare = prepare<tiled_plan<float>, tiled_plan<bf16>>},
      {.name = "naive",
       .dtypes = kMatmulDTypes,
       .note = "one thread per result",
       .prepare = prepare<naive_plan<float>, naive_plan<bf16>>},
      // Its arithmetic is not f32's.
      {.name = "tensor_core_tf32",
       .dtypes = {DType::f32},
       .error_factor = kTf32ErrorFactor,
       .tf32 = true,
       .note = "mma on f32 rounded to tf32: eight times the arithmetic of f32's own units",
       .prepare = matmul_tensor_core,
       .supports = matmul_fits_int},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
