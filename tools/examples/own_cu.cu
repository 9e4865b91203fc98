// A .cu file of one's own, compiled by g++ and run on the CPU (tapescope::emulator). nvcc compiles
// the same kernel for a GPU.
#include <tapescope/emulator.h>

#include <cstdio>

// Each block turns its 64 numbers round.
__global__ void turn(float* x) {
  TAPESCOPE_SHARED(float, all, [64]);
  all[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();  // take it out, and what nobody wrote yet is NaN
  x[blockIdx.x * 64 + threadIdx.x] = all[63 - threadIdx.x];
}

int main() {
  float x[128];
  for (int i = 0; i < 128; ++i) x[i] = static_cast<float>(i);
  launch<turn>(dim3(2), dim3(64), 0, +x);
  std::printf("%g %g ... %g\n", x[0], x[1], x[127]);
  return x[0] == 63 && x[127] == 64 ? 0 : 1;
}
