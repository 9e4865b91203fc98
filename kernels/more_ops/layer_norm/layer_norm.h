// Normalisation of rows (Ba et al. 2016, arXiv 1607.06450), floating dtypes: of images {N, H, W, C}
// a row is the channels of a position.
//
//   y[r,c]  = xhat[r,c] * scale[c] + shift[c],  xhat = (x - mean) / sqrt(variance + epsilon)
//   dx[r,c] = (g[r,c] - mean_c(g) - xhat[r,c] * mean_c(g * xhat)) / sqrt(variance + epsilon),
//             g = dy * scale
//
// with mean and (biased) variance of each row.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct LayerNormShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0, C = 0;
  double epsilon = 1e-5;
};

// in: x {rows, C}, scale {C}, shift {C}         out: y {rows, C}
Variants<LayerNormShape> layer_norm_variants();
// in: dy {rows, C}, x {rows, C}, scale {C}      out: dx {rows, C}; may be dy itself
Variants<LayerNormShape> layer_norm_gradient_variants();

}  // namespace tapescope
