// What a kernel of one's own asks of memory, counted on the CPU (tapescope::emulator and
// tapescope::counters): a copy by neighbours, and one whose threads lie a row apart.
#include <tapescope/emulator.h>
#include <tapescope/kernels/emulator/counters.h>

#include <cstdio>
#include <vector>

__global__ void by_neighbours(const float* x, float* y) {
  y[blockIdx.x * 32 + threadIdx.x] = x[blockIdx.x * 32 + threadIdx.x];
}
__global__ void by_rows(const float* x, float* y) {
  y[threadIdx.x * 32 + blockIdx.x] = x[threadIdx.x * 32 + blockIdx.x];
}

int main() {
  using namespace tapescope::emulator;
  std::vector<float> x(32 * 32, 1), y(32 * 32);
  const float* from = x.data();
  const Range memory[] = {{x.data(), 4096}, {y.data(), 4096}};
  const Counters near =
      count(memory, [&] { launch<by_neighbours>(dim3(32), dim3(32), 0, from, y.data()); });
  const Counters far =
      count(memory, [&] { launch<by_rows>(dim3(32), dim3(32), 0, from, y.data()); });
  for (const Counters& c : {near, far}) {
    std::printf("%llu bytes asked for, %llu moved\n",
                static_cast<unsigned long long>(c.bytes_read + c.bytes_written),
                static_cast<unsigned long long>(c.bytes_moved()));
  }
  return far.bytes_moved() > 4 * near.bytes_moved() ? 0 : 1;
}
