#include "kernels/conv2d/add_to_rows.h"

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// One thread per element.
template <class T>
__global__ void add_bias(const float* bias, T* rows, std::int64_t n, std::int64_t C) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  rows[i] = static_cast<T>(static_cast<float>(rows[i]) + bias[i % C]);
}

template <class T>
void add(const Queue& queue, std::int64_t n, std::int64_t C, const void* bias, void* rows) {
  if (n == 0) return;
  launch<add_bias<T>>(queue, blocks_for(n, kThreads), kThreads, 0, static_cast<const float*>(bias),
                      static_cast<T*>(rows), n, C);
}

}  // namespace

void add_to_rows(const Queue& queue, DType dtype, std::int64_t count, std::int64_t C,
                 const void* bias, void* rows) {
  if (dtype == DType::bf16) return add<bf16>(queue, count * C, C, bias, rows);
  add<float>(queue, count * C, C, bias, rows);
}

}  // namespace tapescope::TAPESCOPE_GPU
