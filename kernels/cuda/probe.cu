#include "kernels/cuda/probe.h"

#include <cuda_runtime.h>

namespace tapescope::cuda {
namespace {
__global__ void probe() {}
}  // namespace

bool has_code_for_this_device() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
  cudaGetLastError();  // it is sticky otherwise
  return found;
}

}  // namespace tapescope::cuda
