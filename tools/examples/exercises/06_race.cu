// Exercise 6: a race to find. This kernel passes every test that runs its threads in order.
// `tools/exercise 6` judges.
#include "tools/examples/exercises/judge.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr unsigned kThreads = 128;

// x: {rows, columns}, y: {rows}. One block per row; the block's last thread adds up its warps'
// sums.
__global__ void sum_of_row(const float* x, float* y, int columns) {
  TAPESCOPE_SHARED(float, of_warp, [kThreads / kWarp]);
  const float* row = x + blockIdx.x * static_cast<unsigned>(columns);
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x); c < columns; c += kThreads) sum += row[c];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kFullMask, sum, lanes);
  if (threadIdx.x % kWarp == kWarp - 1) of_warp[threadIdx.x / kWarp] = sum;
  if (threadIdx.x == kThreads - 1) {
    float total = 0;
    for (const float part : of_warp) total += part;
    y[blockIdx.x] = total;
  }
}

void mine(const Buffers& m, std::span<const std::int64_t> n) {
  launch<sum_of_row>(judge::kQueue, dim3(static_cast<unsigned>(n[0])), dim3(kThreads), 0,
                     judge::operand(m, 0), judge::result(m), static_cast<int>(n[1]));
}

}  // namespace tapescope::TAPESCOPE_GPU

const tapescope::judge::Exercise kExercise = tapescope::judge::kernel(
    {.family = "reduce",
     .rung = "block",
     .shapes = {"rows:3x1000"},
     .mine = tapescope::TAPESCOPE_GPU::mine,
     .wrong = "The kernel was right; only a barrier was missing.",
     .order =
         "Somebody reads shared memory before all who write it have come: put the barrier where "
         "every thread of the block passes."});
