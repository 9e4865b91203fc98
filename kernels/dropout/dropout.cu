// Dropout on a GPU, in rungs.
//
//   naive:      one thread per element, a Philox block each, of which one number in four is used
//   vectorized: four neighbouring elements per Philox block, one wide load and store. Ten rounds of
//               Philox cost more than the load they hide behind, so a quarter of them is the
//               difference between bound by arithmetic and bound by memory. A thread makes four
//               blocks: the key is mixed once for all of them, and rows are found by
//               multiplication.
#include "kernels/dropout/dropout.h"

#include <cmath>

#include "engine/philox.h"
#include "kernels/common/gpu.h"
#include "kernels/common/gpu_divisor.h"
#include "kernels/common/numeric.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// u >= p for u = (bits >> 8) / 2^24 is (bits >> 8) >= ceil(p * 2^24): no rounding of p decides.
std::uint32_t threshold_of(double p) { return static_cast<std::uint32_t>(std::ceil(p * 16777216)); }

__device__ auto key_of(std::uint64_t seed_key, std::int64_t step) {
  return philox_key(mix(seed_key, static_cast<std::uint64_t>(step)));
}
template <class Key>
__device__ PhiloxBlock random_block(const Key& key, std::int64_t row, std::int64_t quad) {
  return philox(key, {static_cast<std::uint32_t>(row),
                      static_cast<std::uint32_t>(static_cast<std::uint64_t>(row) >> 32),
                      static_cast<std::uint32_t>(quad), 0});
}

// What dropout is applied to: the element, or what a relu leaves of it.
template <bool relu>
__device__ float passed(float x) {
  return relu && x < 0 ? 0.0f : x;
}

__device__ std::int64_t number_of(std::int64_t row, const std::int64_t* first) {
  return first == nullptr ? row : *first + row;
}

// x, y: {rows, row_elements}; step: {}; first: {} or null
template <class T, bool relu>
__global__ void naive(const T* x, const std::int64_t* step, const std::int64_t* first, T* y,
                      std::int64_t n, std::int64_t row_elements, std::uint32_t threshold,
                      float scale, std::uint64_t seed_key) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const std::int64_t row = i / row_elements, e = i % row_elements;
  const PhiloxBlock bits = random_block(key_of(seed_key, *step), number_of(row, first), e / 4);
  std::uint32_t drawn = bits[0];  // an index known at run time would put the block into memory
  for (int k = 1; k < 4; ++k) {
    if (e % 4 == k) drawn = bits[static_cast<std::size_t>(k)];
  }
  const bool kept = drawn >> 8 >= threshold;
  y[i] =
      kept ? static_cast<T>(passed<relu>(static_cast<float>(x[i])) * scale) : static_cast<T>(0.0f);
}

// The same; `Width` is 4 where every quad of a row can be loaded as one vector.
constexpr int kQuads = 4;  // of a thread
template <class T, int Width, bool relu>
__global__ void vectorized(const T* x, const std::int64_t* step, const std::int64_t* first, T* y,
                           std::int64_t rows, std::int64_t row_elements, Divisor quads,
                           std::uint32_t threshold, float scale, std::uint64_t seed_key) {
  const auto key = key_of(seed_key, *step);
  const std::int64_t row0 = number_of(0, first);
  std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x * kQuads + threadIdx.x;
  for (int q = 0; q < kQuads && i < rows * quads.by(); ++q, i += blockDim.x) {
    const auto [row, quad] = quads(i);
    const std::int64_t at = row * row_elements + quad * 4;
    const PhiloxBlock bits = random_block(key, row0 + row, quad);
    const auto dropped = [&](int k, float value) {
      const bool kept = bits[static_cast<std::size_t>(k)] >> 8 >= threshold;
      return kept ? passed<relu>(value) * scale : 0.0f;
    };
    if constexpr (Width == 4) {
      float values[4];
      widened(load_pack<T, 4>(x + at), values);
      TAPESCOPE_UNROLL
      for (int k = 0; k < 4; ++k) values[k] = dropped(k, values[k]);
      store_pack(y + at, rounded<T>(values));
    } else {
      for (int k = 0; k < 4 && quad * 4 + k < row_elements; ++k) {
        y[at + k] = static_cast<T>(dropped(k, static_cast<float>(x[at + k])));
      }
    }
  }
}

template <class T, bool relu>
Plan prepare_naive(const DropoutShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    const std::int64_t n = s.rows * s.row_elements;
    if (n == 0) return;
    launch<naive<T, relu>>(
        queue, blocks_for(n, kThreads), kThreads, 0, static_cast<const T*>(b.in[0]),
        static_cast<const std::int64_t*>(b.in[1]), static_cast<const std::int64_t*>(b.in[2]),
        static_cast<T*>(b.out[0]), n, s.row_elements, threshold_of(s.p),
        static_cast<float>(1 / (1 - s.p)), s.seed_key);
  });
}

template <class T, bool relu>
Plan prepare_vectorized(const DropoutShape& s) {
  return Plan("vectorized", 0, [s](const Queue& queue, const Buffers& b) {
    const std::int64_t quads = s.rows * ((s.row_elements + 3) / 4);
    if (quads == 0) return;
    const T* x = static_cast<const T*>(b.in[0]);  // {rows, row_elements}
    T* y = static_cast<T*>(b.out[0]);             // {rows, row_elements}
    const auto go = [&]<int Width>() {
      launch<vectorized<T, Width, relu>>(
          queue, blocks_for(ceil_div<std::int64_t>(quads, kQuads), kThreads), kThreads, 0, x,
          static_cast<const std::int64_t*>(b.in[1]), static_cast<const std::int64_t*>(b.in[2]), y,
          s.rows, s.row_elements, Divisor((s.row_elements + 3) / 4), threshold_of(s.p),
          static_cast<float>(1 / (1 - s.p)), s.seed_key);
    };
    const bool wide =
        s.row_elements % 4 == 0 && aligned(x, 4 * sizeof(T)) && aligned(y, 4 * sizeof(T));
    wide ? go.template operator()<4>() : go.template operator()<1>();
  });
}

template <bool relu>
Plan naive_plan(const DropoutShape& s) {
  return s.dtype == DType::bf16 ? prepare_naive<bf16, relu>(s) : prepare_naive<float, relu>(s);
}
template <bool relu>
Plan vectorized_plan(const DropoutShape& s) {
  return s.dtype == DType::bf16 ? prepare_vectorized<bf16, relu>(s)
                                : prepare_vectorized<float, relu>(s);
}

constexpr DTypes kDTypes{DType::f32, DType::bf16};

}  // namespace

Rows<DropoutShape> dropout_variants() {
  static constexpr Variant<DropoutShape> rows[] = {
      {.name = "vectorized",
       .dtypes = kDTypes,
       .note = "four elements per thread: one Philox block, one wide load and store",
       .prepare = vectorized_plan<false>},
      {.name = "naive",
       .dtypes = kDTypes,
       .note = "one thread per element, a Philox block each",
       .prepare = naive_plan<false>},
  };
  return rows;
}

Rows<DropoutShape> relu_dropout_variants() {
  static constexpr Variant<DropoutShape> rows[] = {
      {.name = "vectorized",
       .dtypes = kDTypes,
       .note = "both in one pass: half the memory traffic of one after the other",
       .prepare = vectorized_plan<true>},
      {.name = "naive",
       .dtypes = kDTypes,
       .note = "both in one pass, one thread per element",
       .prepare = naive_plan<true>},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
