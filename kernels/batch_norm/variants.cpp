// Which batch normalisation runs where, best first.
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/reference.h"
#include "kernels/batch_norm/simd_plans.h"

namespace tapescope {
namespace {

constexpr VariantInfo reference_info(std::string_view family) {
  return {family,
          "reference",
          DeviceKind::cpu,
          {DType::f32, DType::f64, DType::bf16},
          1,
          "one channel at a time, two passes in f64; the oracle",
          ""};
}

constexpr VariantInfo simd_info(std::string_view family) {
  return {
      family,
      "simd",
      DeviceKind::cpu,
      {DType::f32},
      1,
      "blocks of rows that stay in cache, merged in f64; few channels are repeated to fill vectors",
      ""};
}

}  // namespace

std::span<const Variant<BatchNormShape>> batch_norm_training_variants() {
  static constexpr Variant<BatchNormShape> table[] = {
      {simd_info("batch_norm_training"), simd::batch_norm_training, simd::supports_batch_norm},
      {reference_info("batch_norm_training"), reference::batch_norm_training},
  };
  return table;
}

std::span<const Variant<BatchNormShape>> batch_norm_inference_variants() {
  static constexpr Variant<BatchNormShape> table[] = {
      {simd_info("batch_norm_inference"), simd::batch_norm_inference, simd::supports_batch_norm},
      {reference_info("batch_norm_inference"), reference::batch_norm_inference},
  };
  return table;
}

std::span<const Variant<BatchNormShape>> batch_norm_gradient_variants() {
  static constexpr Variant<BatchNormShape> table[] = {
      {simd_info("batch_norm_gradient"), simd::batch_norm_gradient, simd::supports_batch_norm},
      {reference_info("batch_norm_gradient"), reference::batch_norm_gradient},
  };
  return table;
}

}  // namespace tapescope
