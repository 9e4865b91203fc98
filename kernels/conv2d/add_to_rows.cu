#include "kernels/conv2d/add_to_rows.h"

#include "kernels/common/gpu.h"
#include "kernels/common/gpu_divisor.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// Width neighbours of a row per thread; C is a multiple of it.
template <class T, int Width>
__global__ void add_bias(const float* bias, T* rows, std::int64_t n, Divisor C) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (i >= n) return;
  const std::int64_t c = C(i).rest;
  float values[Width];
  widened(load_pack<T, Width>(rows + i), values);
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) values[k] += bias[c + k];
  store_pack(rows + i, rounded<T>(values));
}

template <class T>
void add(const Queue& queue, std::int64_t n, std::int64_t C, const void* bias, void* rows) {
  if (n == 0) return;
  const auto go = [&]<int Width>() {
    launch<add_bias<T, Width>>(queue, blocks_for(n / Width, kThreads), kThreads, 0,
                               static_cast<const float*>(bias), static_cast<T*>(rows), n,
                               Divisor(C));
  };
  if (C % kPackWidth<T> == 0 && aligned(rows, 16)) return go.template operator()<kPackWidth<T>>();
  go.template operator()<1>();
}

}  // namespace

void add_to_rows(const Queue& queue, DType dtype, std::int64_t count, std::int64_t C,
                 const void* bias, void* rows) {
  if (dtype == DType::bf16) return add<bf16>(queue, count * C, C, bias, rows);
  add<float>(queue, count * C, C, bias, rows);
}

}  // namespace tapescope::TAPESCOPE_GPU
