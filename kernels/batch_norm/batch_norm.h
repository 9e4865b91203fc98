// Batch normalisation (Ioffe and Szegedy, 2015) over all axes but the last: rows = N * H * W.
//
//   training:   mean_c = 1/rows sum_r x_rc        variance_c = 1/rows sum_r (x_rc - mean_c)^2
//               y = (x - mean) / sqrt(variance + eps) * scale + shift
//   inference:  the same y from a given mean and variance
//   gradient:   with xhat = (x - mean) / sqrt(variance + eps), through mean and variance too,
//               dshift = sum_r dy      dscale = sum_r dy * xhat
//               dx = scale / sqrt(variance + eps) * (dy - dshift / rows - xhat * dscale / rows)
//
// The variance is the biased one, which normalises; PyTorch's running variance takes the unbiased
// one, variance * rows / (rows - 1). Statistics are exact to rounding: blocks of rows are
// centred at their own mean and merged in f64 (Chan, Golub and LeVeque, 1979).
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct BatchNormShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t C = 0;
  double eps = 1e-5;
};

// in: x {rows, C}, scale {C} or null (1), shift {C} or null (0)
// out: y {rows, C}, mean {C}, variance {C} (biased)
Variants<BatchNormShape> batch_norm_training_variants();
// in: x {rows, C}, scale {C} or null, shift {C} or null, mean {C}, variance {C}
// out: y {rows, C}; may be x
Variants<BatchNormShape> batch_norm_inference_variants();
// in: dy {rows, C}, x {rows, C}, mean {C}, variance {C}, scale {C} or null
// out: dx {rows, C}, dscale {C}, dshift {C}; each may be null, dx may be dy
Variants<BatchNormShape> batch_norm_gradient_variants();

}  // namespace tapescope
