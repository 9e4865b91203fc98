// Exercise 5: a matrix product that reads memory a 32nd as often. `tools/exercise 5` judges.
#include "tools/examples/exercises/judge.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr int kTile = 32;

// a: {M,K}, b: {K,N}, c: {M,N}. A block of 32 x 32 threads, one per result.
__global__ void product(const float* a, const float* b, float* c, int M, int N, int K) {
  const int m = static_cast<int>(blockIdx.y) * kTile + static_cast<int>(threadIdx.y);
  const int n = static_cast<int>(blockIdx.x) * kTile + static_cast<int>(threadIdx.x);
  // TODO: this is right, and every thread reads 2 K numbers. In tiles of 32 of k, let the block
  // bring a tile of a and one of b into shared memory, one element of each per thread, and multiply
  // there. Past an edge a tile holds zeros; between bringing and multiplying, and again before the
  // next tiles come, all threads have to meet.
  if (m >= M || n >= N) return;
  float sum = 0;
  for (int k = 0; k < K; ++k) sum += a[m * K + k] * b[k * N + n];
  c[m * N + n] = sum;
}

void mine(const Buffers& m, std::span<const std::int64_t> n) {
  const int M = static_cast<int>(n[0]), N = static_cast<int>(n[1]), K = static_cast<int>(n[2]);
  launch<product>(
      judge::kQueue,
      dim3(static_cast<unsigned>(ceil_div(N, kTile)), static_cast<unsigned>(ceil_div(M, kTile))),
      dim3(kTile, kTile), 0, judge::operand(m, 0), judge::operand(m, 1), judge::result(m), M, N, K);
}

std::string limit(const emulator::Counters& c, const kernel_cases::Case& of) {
  const double least = (of.bytes() - static_cast<double>(of.out[0].bytes())) / 1024;
  const double read = static_cast<double>(c.bytes_read) / 1024;
  if (read < 8 * least) return "";
  return fmt::format(
      "its threads read {:.0f} KiB of operands that are {:.0f} KiB. What one thread of a "
      "block has read, the other 31 of its row or column need as well.",
      read, least);
}

}  // namespace tapescope::TAPESCOPE_GPU

const tapescope::judge::Exercise kExercise = tapescope::judge::kernel(
    {.family = "matmul",
     .rung = "tiled",
     .shapes = {"nn:33x40x35", "nn:64x96x64"},
     .mine = tapescope::TAPESCOPE_GPU::mine,
     .wrong =
         "Result (m, n) is the sum over k of a[m, k] b[k, n]; past an edge a tile must hold zeros.",
     .order = "Two barriers per tile: one before it is used, one before it is overwritten.",
     .limit = tapescope::TAPESCOPE_GPU::limit});
