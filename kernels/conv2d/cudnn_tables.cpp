// The convolutions' GPU tables with cuDNN in front.
#include "kernels/conv2d/cudnn.h"
#include "kernels/cuda/tables.h"

namespace tapescope::cuda {

std::vector<GpuTable> cudnn_tables() {
  using Table = WithLibrary<Conv2dShape>;
  static const std::string_view why = cudnn::why_missing();
  static const Table forward(kCudnnForward, why, cudnn::conv2d, cudnn::supports_conv2d);
  static const Table data_gradient(kCudnnDataGradient, why, cudnn::conv2d_data_gradient,
                                   cudnn::supports_conv2d_data_gradient);
  static const Table weight_gradient(kCudnnWeightGradient, why, cudnn::conv2d_weight_gradient,
                                     cudnn::supports_conv2d_weight_gradient);
  return {forward.table(), data_gradient.table(), weight_gradient.table()};
}

}  // namespace tapescope::cuda
