// The variants that NVIDIA's libraries bring: what is listed of them, with or without CUDA.
#pragma once

#include <array>

#include "kernels/common/variant.h"

namespace tapescope {

inline constexpr DTypes kLibraryDTypes{DType::f32, DType::bf16};

inline constexpr VariantInfo cudnn_info(std::string_view family) {
  return {family,
          "cudnn",
          DeviceKind::cuda,
          kLibraryDTypes,
          1,
          "cuDNN's graph API: its first engine that is deterministic and computes in the dtype",
          ""};
}
inline constexpr VariantInfo kCublasInfo = {
    "matmul",
    "cublas",
    DeviceKind::cuda,
    kLibraryDTypes,
    1,
    "cuBLASLt's first algorithm without atomic sums, bias in its epilogue",
    ""};

inline constexpr std::array kLibraryVariants = {cudnn_info("conv2d"),
                                                cudnn_info("conv2d_data_gradient"),
                                                cudnn_info("conv2d_weight_gradient"), kCublasInfo};

}  // namespace tapescope
