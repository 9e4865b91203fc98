#include "kernels/conv2d/cudnn.h"
#include "kernels/cuda/library_variants.h"
#include "kernels/cuda/tables.h"

namespace tapescope::cuda {
namespace {

Variant<Conv2dShape> convolution(std::string_view family, Plan (*prepare)(const Conv2dShape&),
                                 bool (*supports)(const Conv2dShape&)) {
  Variant<Conv2dShape> variant{cudnn_info(family), prepare, supports};
  variant.reason = cudnn::why_missing();
  return variant;
}

}  // namespace

std::vector<GpuTable> cudnn_tables() {
  static const WithLibrary<Conv2dShape> forward(
      convolution("conv2d", cudnn::conv2d, cudnn::supports_conv2d));
  static const WithLibrary<Conv2dShape> data_gradient(convolution(
      "conv2d_data_gradient", cudnn::conv2d_data_gradient, cudnn::supports_conv2d_data_gradient));
  static const WithLibrary<Conv2dShape> weight_gradient(
      convolution("conv2d_weight_gradient", cudnn::conv2d_weight_gradient,
                  cudnn::supports_conv2d_weight_gradient));
  return {forward.table(), data_gradient.table(), weight_gradient.table()};
}

}  // namespace tapescope::cuda
