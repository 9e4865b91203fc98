// Exercise 4: log-softmax with a warp per row, without shared memory. `tools/exercise 4` judges.
#include "tools/examples/exercises/judge.h"

namespace tapescope::TAPESCOPE_GPU {

// All lanes get the largest value, or the sum, of all lanes' values.
__device__ float largest_of_warp(float value) {
  // TODO: five shuffles. __shfl_xor_sync(kFullMask, value, 16) is lane l's look at lane l ^ 16.
  return value;
}
__device__ float sum_of_warp(float value) {
  return value;  // TODO
}

// x, y: {rows, C}. y = x - m - log(sum of exp(x - m)), m the largest of the row.
__global__ void log_softmax(const float* x, float* y, int rows, int C) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row >= rows) return;  // a whole warp
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  float largest = -__builtin_huge_valf(), sum = 0;
  for (int c = lane; c < C; c += 32) largest = max(largest, x[row * C + c]);
  largest = largest_of_warp(largest);
  for (int c = lane; c < C; c += 32) sum += exp(x[row * C + c] - largest);
  sum = sum_of_warp(sum);
  for (int c = lane; c < C; c += 32) y[row * C + c] = x[row * C + c] - largest - log(sum);
}

void mine(const Buffers& m, std::span<const std::int64_t> n) {
  const int rows = static_cast<int>(n[0]), C = static_cast<int>(n[1]);
  launch<log_softmax>(judge::kQueue, dim3(static_cast<unsigned>(ceil_div(rows, 4))), dim3(128), 0,
                      judge::operand(m, 0), judge::result(m), rows, C);
}

std::string limit(const emulator::Counters& c, const kernel_cases::Case&) {
  if (c.barriers + c.shared_accesses == 0) return "";
  return "it meets in shared memory. The lanes of a warp can read each other's registers.";
}

}  // namespace tapescope::TAPESCOPE_GPU

const tapescope::judge::Exercise kExercise = tapescope::judge::kernel(
    {.family = "log_softmax",
     .rung = "warp",
     .shapes = {"3x32", "5x10", "9x100"},
     .mine = tapescope::TAPESCOPE_GPU::mine,
     .wrong =
         "Each lane has gone through a 32nd of the row: after exchanges with lanes 16, 8, 4, 2 "
         "and 1 apart, all of them hold what all of them found.",
     .order =
         "A shuffle is a meeting of its lanes: all 32 must call it, and what they read must be "
         "their registers.",
     .limit = tapescope::TAPESCOPE_GPU::limit});
