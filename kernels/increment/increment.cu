// Counting on a GPU.
#include "kernels/increment/increment.h"

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

__global__ void increment(const std::int64_t* x, std::int64_t* y, std::int64_t n) {  // {n} each
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] + 1;
}

Plan prepare(const IncrementShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.n == 0) return;
    constexpr unsigned kThreads = 256;
    launch<increment>(queue, blocks_for(s.n, kThreads), kThreads, 0,
                      static_cast<const std::int64_t*>(b.in[0]),
                      static_cast<std::int64_t*>(b.out[0]), s.n);
  });
}

}  // namespace

Rows<IncrementShape> increment_variants() {
  static constexpr Variant<IncrementShape> rows[] = {
      {.name = "naive",
       .dtypes = {DType::i64},
       .note = "one thread per element",
       .prepare = prepare},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
