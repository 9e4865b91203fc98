// Gathers and scatters of one element per row on a GPU.
//
//   naive: one thread per element of the result. A kernel cannot throw: the row of an index outside
//          [0, C) becomes NaN, which training stops at.
#include "kernels/more_ops/gather/gather.h"

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

template <class T>
__device__ T not_a_number() {
  return static_cast<T>(__uint_as_float(0x7fc00000u));
}

// x: {N, C}, index: {N}, y: {N}
template <class T>
__global__ void gather(const T* x, const std::int64_t* index, T* y, std::int64_t N,
                       std::int64_t C) {
  const std::int64_t n = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const std::int64_t c = index[n];
  y[n] = c >= 0 && c < C ? x[n * C + c] : not_a_number<T>();
}

// g: {N}, or null for ones; index: {N}, y: {N, C}
template <class T>
__global__ void scatter(const T* g, const std::int64_t* index, T* y, std::int64_t N,
                        std::int64_t C) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= N * C) return;
  const std::int64_t n = i / C, wanted = index[n];
  T value = static_cast<T>(0.0f);
  if (i % C == wanted) value = g != nullptr ? g[n] : static_cast<T>(1.0f);
  y[i] = wanted >= 0 && wanted < C ? value : not_a_number<T>();
}

template <class T>
Plan gather_plan(const GatherShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.N == 0) return;
    launch<gather<T>>(queue, blocks_for(s.N, kThreads), kThreads, 0, static_cast<const T*>(b.in[0]),
                      static_cast<const std::int64_t*>(b.in[1]), static_cast<T*>(b.out[0]), s.N,
                      s.C);
  });
}

template <class T>
Plan scatter_plan(const GatherShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.N * s.C == 0) return;
    launch<scatter<T>>(queue, blocks_for(s.N * s.C, kThreads), kThreads, 0,
                       static_cast<const T*>(b.in[0]), static_cast<const std::int64_t*>(b.in[1]),
                       static_cast<T*>(b.out[0]), s.N, s.C);
  });
}

Plan prepare_gather(const GatherShape& s) {
  return s.dtype == DType::bf16 ? gather_plan<bf16>(s) : gather_plan<float>(s);
}
Plan prepare_scatter(const GatherShape& s) {
  return s.dtype == DType::bf16 ? scatter_plan<bf16>(s) : scatter_plan<float>(s);
}

constexpr Variant<GatherShape> naive_row(Plan (*prepare)(const GatherShape&)) {
  return {.name = "naive",
          .dtypes = {DType::f32, DType::bf16},
          .note = "one thread per element",
          .prepare = prepare};
}

}  // namespace

Rows<GatherShape> gather_rows_element_variants() {
  static constexpr Variant<GatherShape> rows[] = {
      naive_row(prepare_gather),
  };
  return rows;
}

Rows<GatherShape> scatter_rows_element_variants() {
  static constexpr Variant<GatherShape> rows[] = {
      naive_row(prepare_scatter),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
