// Which convolution runs on a GPU, best first.
#include "kernels/common/tensor_gemm.h"
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr VariantInfo tensor_info(std::string_view family) {
  return {family,  "tensor_core",
          kDevice, {DType::bf16},
          1,       "mma on bf16, tiles three steps deep by cp.async: no register waits for memory",
          ""};
}
// Last in each table, so that only its name chooses it: its arithmetic is not f32's.
constexpr VariantInfo tf32_info(std::string_view family) {
  return {family,
          "tensor_core_tf32",
          kDevice,
          {DType::f32},
          kTf32ErrorFactor,
          "mma on f32 rounded to tf32: eight times the arithmetic of f32's own units",
          ""};
}
constexpr VariantInfo blocked_info(std::string_view family) {
  return {family,  "implicit_gemm",
          kDevice, kConvDTypes,
          1,       "4 x 4 or 8 x 8 results a thread in registers, 16-byte loads",
          ""};
}
constexpr VariantInfo tiled_info(std::string_view family) {
  return {
      family,  "tiled",
      kDevice, kConvDTypes,
      1,       "16 x 16 tiles of the implicit matrices through shared memory: a 16th of the reads",
      ""};
}
constexpr VariantInfo naive_info(std::string_view family) {
  return {family, "naive", kDevice, kConvDTypes, 1, "a thread a result; any groups", ""};
}

}  // namespace

std::span<const Variant<Conv2dShape>> conv2d_variants() {
  static constexpr Variant<Conv2dShape> table[] = {
      {tensor_info("conv2d"), conv2d_tensor_core, conv_is_dense},
      {blocked_info("conv2d"), conv2d_implicit_gemm, conv_is_dense},
      {tiled_info("conv2d"), conv2d_tiled, conv_is_dense},
      {naive_info("conv2d"), conv2d_naive, conv_fits_int},
      {tf32_info("conv2d"), conv2d_tensor_core, conv_is_dense},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_data_gradient_variants() {
  static constexpr Variant<Conv2dShape> table[] = {
      {tensor_info("conv2d_data_gradient"), conv2d_data_gradient_tensor_core, conv_is_dense},
      {blocked_info("conv2d_data_gradient"), conv2d_data_gradient_implicit_gemm, conv_is_dense},
      {tiled_info("conv2d_data_gradient"), conv2d_data_gradient_tiled, conv_is_dense},
      {naive_info("conv2d_data_gradient"), conv2d_data_gradient_naive, conv_fits_int},
      {tf32_info("conv2d_data_gradient"), conv2d_data_gradient_tensor_core, conv_is_dense},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_weight_gradient_variants() {
  static constexpr Variant<Conv2dShape> table[] = {
      {tensor_info("conv2d_weight_gradient"), conv2d_weight_gradient_tensor_core, conv_is_dense},
      {blocked_info("conv2d_weight_gradient"), conv2d_weight_gradient_implicit_gemm, conv_is_dense},
      {tiled_info("conv2d_weight_gradient"), conv2d_weight_gradient_tiled, conv_is_dense},
      {naive_info("conv2d_weight_gradient"), conv2d_weight_gradient_naive, conv_fits_int},
      {tf32_info("conv2d_weight_gradient"), conv2d_weight_gradient_tensor_core, conv_is_dense},
  };
  return table;
}

}  // namespace tapescope::TAPESCOPE_GPU
