// The host's side of kernels/common/hopper.h on a GPU.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include "engine/error.h"
#include "kernels/common/tensor_map.h"

namespace tapescope::cuda {
namespace {

// The driver's functions, asked of the runtime: nothing links to libcuda.
template <class F>
F driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t error = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess || function == nullptr) {
    throw failure(
        "the NVIDIA driver has no {}, which Hopper's kernels need; install one for CUDA 12", name);
  }
  return reinterpret_cast<F>(function);
}

}  // namespace

CUtensorMap tensor_map(const TensorView& v) {
  check(v);
  cuuint64_t extents[5], strides[5];
  for (int d = 0; d < v.rank; ++d) extents[d] = static_cast<cuuint64_t>(v.extent[d]);
  for (int d = 1; d < v.rank; ++d) strides[d - 1] = static_cast<cuuint64_t>(v.stride[d]);
  const CUtensorMapSwizzle swizzle =
      v.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE;
  void* const data = const_cast<void*>(v.data);
  const auto rank = static_cast<cuuint32_t>(v.rank);
  CUtensorMap map;
  CUresult result;
  if (v.im2col) {
    static const auto encode =
        driver_function<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
    const int lower[] = {v.lower_w, v.lower_h}, upper[] = {v.upper_w, v.upper_h};
    const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(v.step_w),
                                static_cast<cuuint32_t>(v.step_h), 1};
    result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, data, extents, strides, lower,
                    upper, static_cast<cuuint32_t>(v.channels), static_cast<cuuint32_t>(v.pixels),
                    steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  } else {
    static const auto encode =
        driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
    cuuint32_t box[5], steps[5] = {1, 1, 1, 1, 1};
    for (int d = 0; d < v.rank; ++d) box[d] = static_cast<cuuint32_t>(v.box[d]);
    result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, data, extents, strides, box,
                    steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  }
  if (result != CUDA_SUCCESS) {
    throw failure("the driver refuses a tensor map of rank {} (error {})", v.rank,
                  static_cast<int>(result));
  }
  return map;
}

int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
      throw failure("CUDA does not say how many multiprocessors the device has");
    }
    return value;
  }();
  return count;
}

}  // namespace tapescope::cuda
