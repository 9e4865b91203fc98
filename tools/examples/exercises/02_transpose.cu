// Exercise 2: a transpose whose stores lie together. `tools/exercise 2` judges.
#include "tools/examples/exercises/judge.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr int kTile = 32, kRows = 8;

// x: {rows, columns}, y: {columns, rows}. A block of 32 x 8 threads per 32 x 32 elements.
__global__ void turn(const float* x, float* y, int rows, int columns) {
  const int row0 = static_cast<int>(blockIdx.y) * kTile,
            column0 = static_cast<int>(blockIdx.x) * kTile;
  for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kRows) {
    const int row = row0 + r, column = column0 + static_cast<int>(threadIdx.x);
    // TODO: this is right, but neighbouring threads write a whole row of y apart. Let the tile pass
    // through TAPESCOPE_SHARED(float, tile, [kTile][kTile]) and a barrier.
    if (row < rows && column < columns) y[column * rows + row] = x[row * columns + column];
  }
}

void mine(const Buffers& m, std::span<const std::int64_t> n) {
  const int rows = static_cast<int>(n[1]), columns = static_cast<int>(n[2]);
  launch<turn>(judge::kQueue,
               dim3(static_cast<unsigned>(ceil_div(columns, kTile)),
                    static_cast<unsigned>(ceil_div(rows, kTile))),
               dim3(kTile, kRows), 0, judge::operand(m, 0), judge::result(m), rows, columns);
}

std::string limit(const emulator::Counters& c, const kernel_cases::Case&) {
  if (2 * c.bytes_moved() > 3 * (c.bytes_read + c.bytes_written)) {
    return fmt::format(
        "{} KiB move for {} KiB that are asked for. Memory moves in sectors of 32 bytes: "
        "the 32 threads of a warp should write neighbours.",
        c.bytes_moved() / 1024, (c.bytes_read + c.bytes_written) / 1024);
  }
  if (c.bank_conflicts > 0) {
    return fmt::format(
        "shared memory is asked {} times more than needed. A column of a tile of 32 x 32 "
        "lies in one bank: make its rows 33 long.",
        c.bank_conflicts);
  }
  return "";
}

}  // namespace tapescope::TAPESCOPE_GPU

const tapescope::judge::Exercise kExercise = tapescope::judge::kernel(
    {.family = "transpose",
     .rung = "tiled",
     .shapes = {"1x40x70", "1x128x96"},
     .mine = tapescope::TAPESCOPE_GPU::mine,
     .wrong =
         "Element (row, column) of x is element (column, row) of y; past an edge there is none.",
     .order =
         "A tile is read by other threads than wrote it: every thread has to have written first.",
     .limit = tapescope::TAPESCOPE_GPU::limit});
