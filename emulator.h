// One header with which a .cu file of one's own runs on the CPU, compiled by the ordinary compiler:
//
//   #include <tapescope/emulator.h>
//   __global__ void twice(float* x) { x[threadIdx.x] *= 2; }
//   ... launch<twice>(dim3(1), dim3(32), 0, x);      in place of  twice<<<1, 32>>>(x);
//
// CMake: target_link_libraries(mine PRIVATE tapescope::emulator). nvcc compiles the same file for a
// GPU. What takes part and what is not modelled: kernels/emulator/README.md.
#pragma once

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {

// launch() on the device that this file is compiled for.
template <auto kernel, class... Args>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, Args... args) {
  launch<kernel>(Queue{Device{kDevice}}, grid, block, shared_bytes, args...);
}

}  // namespace tapescope::TAPESCOPE_GPU

using namespace tapescope::TAPESCOPE_GPU;  // dim3, float4, __syncthreads, ...: CUDA's are global
                                           // too
