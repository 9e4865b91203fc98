// A CUDA kernel of one's own, run and checked without a GPU. Sums of rows, one block per row: warps
// reduce by shuffles, and the warps' sums meet in shared memory. Take the barrier out and run again
// with TAPESCOPE_EMULATOR=reverse: the sums are wrong, for a write that nobody waited for.
// Named .cu and compiled by nvcc, the same text runs on a GPU.
#include <fmt/format.h>
#include <tapescope/kernels/common/gpu.h>

#include <vector>

namespace tapescope::TAPESCOPE_GPU {

// x: {rows, columns}, y: {rows}
__global__ void row_sums(const float* x, float* y, int columns) {
  TAPESCOPE_SHARED(float, of_warp, [kWarp]);
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x); c < columns; c += static_cast<int>(blockDim.x))
    sum += x[blockIdx.x * static_cast<unsigned>(columns) + static_cast<unsigned>(c)];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(kFullMask, sum, step);
  if (lane == 0) of_warp[warp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (unsigned w = 0; w < blockDim.x / kWarp; ++w) total += of_warp[w];
    y[blockIdx.x] = total;
  }
}

int run() {
  const int rows = 4, columns = 1000;
  std::vector<float> x(rows * columns), y(rows);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7);
  launch<row_sums>(Queue{Device::emulated()}, dim3(rows), dim3(128), 0,
                   static_cast<const float*>(x.data()), y.data(), columns);
  int wrong = 0;
  for (int r = 0; r < rows; ++r) {
    double expected = 0;
    for (int c = 0; c < columns; ++c) expected += (r * columns + c) % 7;
    fmt::print("row {}: {} (expected {})\n", r, y[static_cast<std::size_t>(r)], expected);
    wrong += y[static_cast<std::size_t>(r)] != static_cast<float>(expected);
  }
  return wrong;
}

}  // namespace tapescope::TAPESCOPE_GPU

int main() { return tapescope::TAPESCOPE_GPU::run(); }
