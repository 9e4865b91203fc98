// In place of cudnn_tables.cpp where a build has no cuDNN.
#include "kernels/conv2d/conv2d.h"
#include "kernels/cuda/tables.h"

namespace tapescope::cuda {

std::vector<GpuTable> cudnn_tables() {
  static constexpr std::string_view kWhy = "this build has no cuDNN (TAPESCOPE_CUDNN)";
  static const WithLibrary<Conv2dShape> forward(kCudnnForward, kWhy),
      data_gradient(kCudnnDataGradient, kWhy), weight_gradient(kCudnnWeightGradient, kWhy);
  return {forward.table(), data_gradient.table(), weight_gradient.table()};
}

}  // namespace tapescope::cuda
