// Which batch normalisation runs where, best first.
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/reference.h"
#include "kernels/batch_norm/simd_plans.h"

namespace tapescope {
namespace {

using Prepare = Plan (*)(const BatchNormShape&);

constexpr Variant<BatchNormShape> reference_row(Prepare prepare) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "one channel at a time, two passes in f64; the oracle",
          .prepare = prepare};
}

constexpr Variant<BatchNormShape> simd_row(Prepare prepare) {
  return {.name = "simd",
          .dtypes = {DType::f32},
          .note =
              "blocks of rows that stay in cache, merged in f64; few channels are repeated to fill "
              "vectors",
          .prepare = prepare,
          .supports = simd::supports_batch_norm};
}

}  // namespace

namespace cpu {

Rows<BatchNormShape> batch_norm_training_variants() {
  static constexpr Variant<BatchNormShape> rows[] = {
      simd_row(simd::batch_norm_training),
      reference_row(reference::batch_norm_training),
  };
  return rows;
}

Rows<BatchNormShape> batch_norm_inference_variants() {
  static constexpr Variant<BatchNormShape> rows[] = {
      simd_row(simd::batch_norm_inference),
      reference_row(reference::batch_norm_inference),
  };
  return rows;
}

Rows<BatchNormShape> batch_norm_gradient_variants() {
  static constexpr Variant<BatchNormShape> rows[] = {
      simd_row(simd::batch_norm_gradient),
      reference_row(reference::batch_norm_gradient),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
