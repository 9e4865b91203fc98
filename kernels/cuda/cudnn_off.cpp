// In place of cudnn_tables.cpp where a build has no cuDNN.
#include "kernels/conv2d/conv2d.h"
#include "kernels/cuda/library_variants.h"
#include "kernels/cuda/tables.h"

namespace tapescope::cuda {
namespace {

WithLibrary<Conv2dShape> missing(std::string_view family) {
  Variant<Conv2dShape> variant{cudnn_info(family)};
  variant.reason = "this build has no cuDNN (TAPESCOPE_CUDNN)";
  return WithLibrary<Conv2dShape>(variant);
}

}  // namespace

std::vector<GpuTable> cudnn_tables() {
  static const std::array<WithLibrary<Conv2dShape>, 3> tables = {
      missing("conv2d"), missing("conv2d_data_gradient"), missing("conv2d_weight_gradient")};
  return {tables[0].table(), tables[1].table(), tables[2].table()};
}

}  // namespace tapescope::cuda
