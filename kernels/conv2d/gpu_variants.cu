// Which convolution runs on a GPU, best first.
#include "kernels/common/hopper.h"
#include "kernels/common/tensor_gemm.h"
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

using Prepare = Plan (*)(const Conv2dShape&);
using Supports = bool (*)(const Conv2dShape&);

Variant<Conv2dShape> wgmma_row(Prepare prepare, Supports supports) {
  return {.name = "wgmma",
          .dtypes = {DType::bf16},
          .note =
              "Hopper: TMA walks over the windows and fills a ring of stages, warpgroups multiply "
              "from there",
          .reason = hopper_reason(),
          .prepare = prepare,
          .supports = supports};
}

constexpr Variant<Conv2dShape> tensor_core_row(Prepare prepare) {
  return {.name = "tensor_core",
          .dtypes = {DType::bf16},
          .note = "mma on bf16, tiles three steps deep by cp.async: no register waits for memory",
          .prepare = prepare,
          .supports = conv_is_dense};
}
constexpr Variant<Conv2dShape> implicit_gemm_row(Prepare prepare) {
  return {.name = "implicit_gemm",
          .dtypes = kConvDTypes,
          .note = "4 x 4 or 8 x 8 results per thread in registers, 16-byte loads",
          .prepare = prepare,
          .supports = conv_is_dense};
}
constexpr Variant<Conv2dShape> tiled_row(Prepare prepare) {
  return {
      .name = "tiled",
      .dtypes = kConvDTypes,
      .note = "16 x 16 tiles of the implicit matrices through shared memory: a 16th of the reads",
      .prepare = prepare,
      .supports = conv_is_dense};
}
constexpr Variant<Conv2dShape> depthwise_row(Prepare prepare) {
  return {
      .name = "depthwise",
      .dtypes = kConvDTypes,
      .note = "each channel by itself: the weights of 32 in shared memory, four pixels per thread",
      .prepare = prepare,
      .supports = conv_is_depthwise};
}
constexpr Variant<Conv2dShape> naive_row(Prepare prepare) {
  return {.name = "naive",
          .dtypes = kConvDTypes,
          .note = "one thread per result; any groups",
          .prepare = prepare,
          .supports = conv_fits_int};
}
// Its arithmetic is not f32's.
constexpr Variant<Conv2dShape> tensor_core_tf32_row(Prepare prepare) {
  return {.name = "tensor_core_tf32",
          .dtypes = {DType::f32},
          .error_factor = kTf32ErrorFactor,
          .tf32 = true,
          .note = "mma on f32 rounded to tf32: eight times the arithmetic of f32's own units",
          .prepare = prepare,
          .supports = conv_is_dense};
}

template <Prepare wgmma, Supports fits_wgmma, Prepare tensor_core, Prepare implicit_gemm,
          Prepare tiled, Prepare depthwise, Prepare naive>
Rows<Conv2dShape> ladder() {
  static const Variant<Conv2dShape> rows[] = {
      wgmma_row(wgmma, fits_wgmma),     tensor_core_row(tensor_core),
      implicit_gemm_row(implicit_gemm), tiled_row(tiled),
      depthwise_row(depthwise),         naive_row(naive),
      tensor_core_tf32_row(tensor_core)};
  return rows;
}

}  // namespace

Rows<Conv2dShape> conv2d_variants() {
  return ladder<conv2d_wgmma, conv_fits_wgmma, conv2d_tensor_core, conv2d_implicit_gemm,
                conv2d_tiled, conv2d_depthwise, conv2d_naive>();
}
Rows<Conv2dShape> conv2d_data_gradient_variants() {
  return ladder<conv2d_data_gradient_wgmma, conv_data_gradient_fits_wgmma,
                conv2d_data_gradient_tensor_core, conv2d_data_gradient_implicit_gemm,
                conv2d_data_gradient_tiled, conv2d_data_gradient_depthwise,
                conv2d_data_gradient_naive>();
}
Rows<Conv2dShape> conv2d_weight_gradient_variants() {
  return ladder<conv2d_weight_gradient_wgmma, conv_fits_wgmma, conv2d_weight_gradient_tensor_core,
                conv2d_weight_gradient_implicit_gemm, conv2d_weight_gradient_tiled,
                conv2d_weight_gradient_depthwise, conv2d_weight_gradient_naive>();
}

}  // namespace tapescope::TAPESCOPE_GPU
