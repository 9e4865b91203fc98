// Exercise 3: the sum of a row by all threads of a block. `tools/exercise 3` judges.
#include "tools/examples/exercises/judge.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr unsigned kThreads = 128;

// x: {rows, columns}, y: {rows}. One block per row.
__global__ void sum_of_row(const float* x, float* y, int columns) {
  TAPESCOPE_SHARED(float, partial, [kThreads]);
  const float* row = x + blockIdx.x * static_cast<unsigned>(columns);
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x); c < columns; c += kThreads) sum += row[c];
  partial[threadIdx.x] = sum;
  // TODO: 128 sums are left. Add the upper half to the lower one, then the upper quarter, ...
  if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

void mine(const Buffers& m, std::span<const std::int64_t> n) {
  launch<sum_of_row>(judge::kQueue, dim3(static_cast<unsigned>(n[0])), dim3(kThreads), 0,
                     judge::operand(m, 0), judge::result(m), static_cast<int>(n[1]));
}

}  // namespace tapescope::TAPESCOPE_GPU

const tapescope::judge::Exercise kExercise = tapescope::judge::kernel(
    {.family = "reduce",
     .rung = "block",
     .shapes = {"rows:3x128", "rows:5x1000", "rows:2x7"},
     .mine = tapescope::TAPESCOPE_GPU::mine,
     .wrong = "A thread knows its own sum only; the others' it reads from shared memory, in seven "
              "steps of a tree, each half as wide as the one before.",
     .order = "Before each step of the tree every thread must have done the last one: a barrier, "
              "which all threads reach, also those that add nothing."});
