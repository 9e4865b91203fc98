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
          .prepare = prepare,
          .supports = [](const BatchNormShape& s) { return s.part == BatchNormPart::whole; }};
}

constexpr Variant<BatchNormShape> simd_row(Prepare prepare) {
  return {.name = "simd",
          .dtypes = {DType::f32, DType::bf16},
          .note =
              "blocks of rows that stay in cache, merged in f64; few channels are repeated to fill "
              "vectors",
          .prepare = prepare,
          .supports = simd::supports_batch_norm};
}

template <Plan (*simd)(const BatchNormShape&), Plan (*reference)(const BatchNormShape&)>
Rows<BatchNormShape> simd_or_reference() {
  static constexpr Variant<BatchNormShape> rows[] = {simd_row(simd), reference_row(reference)};
  return rows;
}

}  // namespace

namespace cpu {

Rows<BatchNormShape> batch_norm_training_variants() {
  return simd_or_reference<simd::batch_norm_training, reference::batch_norm_training>();
}

Rows<BatchNormShape> batch_norm_inference_variants() {
  return simd_or_reference<simd::batch_norm_inference, reference::batch_norm_inference>();
}

Rows<BatchNormShape> batch_norm_gradient_variants() {
  return simd_or_reference<simd::batch_norm_gradient, reference::batch_norm_gradient>();
}

Rows<BatchNormShape> batch_norm_relu_training_variants() {
  return simd_or_reference<simd::batch_norm_relu_training, reference::batch_norm_relu_training>();
}

Rows<BatchNormShape> batch_norm_relu_gradient_variants() {
  return simd_or_reference<simd::batch_norm_relu_gradient, reference::batch_norm_relu_gradient>();
}

}  // namespace cpu

}  // namespace tapescope
