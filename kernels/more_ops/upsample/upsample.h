// Resampling of images {N, H, W, C} -> {N, P, Q, C}, floating dtypes, and the exact transposes.
//
//   nearest:  y[n,p,q,c] = x[n, floor(p * H / P), floor(q * W / Q), c]
//   bilinear: sampled at ((p + 1/2) * H / P - 1/2, ...) with the border repeated: PyTorch's
//             interpolate with align_corners=False
//   the gradients are the exact transposes: each dy is added where its y was read
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct UpsampleShape {
  DType dtype = DType::f32;
  std::int64_t N = 0, H = 0, W = 0, C = 0, P = 0, Q = 0;
};

// in: x {N, H, W, C}    out: y {N, P, Q, C}
Variants<UpsampleShape> upsample_nearest_variants();
Variants<UpsampleShape> upsample_bilinear_variants();
// in: dy {N, P, Q, C}    out: dx {N, H, W, C}
Variants<UpsampleShape> upsample_nearest_gradient_variants();
Variants<UpsampleShape> upsample_bilinear_gradient_variants();

}  // namespace tapescope
