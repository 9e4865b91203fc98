// Batch normalisation (Ioffe and Szegedy, 2015) over all axes but the last: rows = N * H * W.
//
//   training:   mean_c = 1/rows sum_r x_rc        variance_c = 1/rows sum_r (x_rc - mean_c)^2
//               y = (x - mean) / sqrt(variance + eps) * scale + shift
//   inference:  the same y from a given mean and variance
//   gradient:   with xhat = (x - mean) / sqrt(variance + eps), through mean and variance too,
//               dshift = sum_r dy      dscale = sum_r dy * xhat
//               dx = scale / sqrt(variance + eps) * (dy - dshift / rows - xhat * dscale / rows)
//   with relu:  y = max(that, 0), max(that + r, 0) for the other branch r of a residual block, or
//               min(max(that, 0), top); dy counts where y > 0 only, or where that is in [0, top]
//
// The variance is the biased one; PyTorch's running variance takes variance * rows / (rows - 1).
// Statistics are exact to rounding: blocks of rows are centred at their own mean, added up in f64.
#pragma once

#include "kernels/batch_norm/simd_parts.h"
#include "kernels/common/variant.h"

namespace tapescope {

struct BatchNormShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t C = 0;
  double eps = 1e-5;
  bool residual = false;                      // of the families with relu: whether there is an r
  BatchNormPart part = BatchNormPart::whole;  // of a training or gradient, on the CPU
  double top = 0;  // of the families with relu, where there is no r; 0: none
};

// What is {rows, C} is of `dtype`, what is {C} is f32 where that is bf16.
// in: x {rows, C}, scale {C} or null (1), shift {C} or null (0)
// out: y {rows, C}, mean {C}, variance {C} (biased)
Variants<BatchNormShape> batch_norm_training_variants();
// in: x {rows, C}, scale {C} or null, shift {C} or null, mean {C}, variance {C}
// out: y {rows, C}; may be x
Variants<BatchNormShape> batch_norm_inference_variants();
// in: dy {rows, C}, x {rows, C}, mean {C}, variance {C}, scale {C} or null
// out: dx {rows, C}, dscale {C}, dshift {C}; each may be null, dx may be dy
Variants<BatchNormShape> batch_norm_gradient_variants();

// in: x {rows, C}, scale {C} or null, shift {C} or null, r {rows, C} where residual
// out: y {rows, C}, mean {C}, variance {C} (biased), factor {C}, offset {C}: without r the sign of
// (x - mean) * factor + offset says again what passed. y may be r.
Variants<BatchNormShape> batch_norm_relu_training_variants();
// in: dy {rows, C}, x {rows, C}, mean {C}, variance {C}, scale {C} or null, then where residual
// y {rows, C}, else factor {C}, offset {C}
// out: dx {rows, C}, dscale {C}, dshift {C}, and where residual dr {rows, C}; dx or dr may be dy
Variants<BatchNormShape> batch_norm_relu_gradient_variants();

}  // namespace tapescope
