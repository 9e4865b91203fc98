#include "kernels/cuda/probe.h"

#include <cuda_runtime.h>

#include "kernels/common/hopper.h"

namespace tapescope::cuda {
namespace {

// Code for sm_90a has an array that no other has: the loaded code's attributes tell which it is.
__global__ void probe([[maybe_unused]] int* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ int of_hopper[32];
  of_hopper[threadIdx.x % 32] = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (out != nullptr) *out = of_hopper[31 - threadIdx.x % 32];
#endif
}

}  // namespace

bool has_code_for_this_device() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
  cudaGetLastError();  // it is sticky otherwise
  return found;
}

std::string_view hopper_reason() {
  static const std::string_view why = []() -> std::string_view {
    int device = 0, major = 0;
    cudaFuncAttributes attributes;
    const bool known =
        cudaGetDevice(&device) == cudaSuccess &&
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess;
    const bool loaded =
        known && major == 9 && cudaFuncGetAttributes(&attributes, probe) == cudaSuccess;
    cudaGetLastError();  // it is sticky otherwise
    if (!known || major != 9) return "needs an sm_90 GPU";
    if (!loaded || attributes.sharedSizeBytes == 0) {
      return "this library was built without sm_90a";
    }
    return {};
  }();
  return why;
}

}  // namespace tapescope::cuda
