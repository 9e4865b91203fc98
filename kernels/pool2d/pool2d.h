// Maximum and mean over windows of an image, and their gradients.
//
//   max_pool2d:          y = max over the window; k = its place in the window (row-major), the first
//                        of equals; a NaN wins. Padding never wins.
//                        with relu: y = max(that, 0), and k = kNoPlace where that is not positive
//   max_pool2d_scatter:  dx at the place that won += dy          (the VJP)
//   max_pool2d_gather:   y = x at the place that won             (the scatter's VJP)
//   avg_pool2d:          y = sum over the window / (KH * KW), or / (places inside the image) where
//                        padding is not counted
//   avg_pool2d_gradient: the exact transpose
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct Pool2dShape {
  DType dtype = DType::f32;
  std::int64_t N = 0, H = 0, W = 0, C = 0;  // x: {N, H, W, C}
  std::int64_t KH = 2, KW = 2, stride_h = 2, stride_w = 2, pad_h = 0, pad_w = 0;
  bool count_include_pad = true;  // avg only
  bool relu = false;              // max only

  // y: {N, P, Q, C}; windows that would pass the border are left out, as in PyTorch's default.
  // 0 where the window does not fit.
  std::int64_t P() const { return H + 2 * pad_h < KH ? 0 : (H + 2 * pad_h - KH) / stride_h + 1; }
  std::int64_t Q() const { return W + 2 * pad_w < KW ? 0 : (W + 2 * pad_w - KW) / stride_w + 1; }
};
// A place in the window is kept in a byte.
constexpr std::int64_t kLargestWindow = 255;
constexpr std::uint8_t kNoPlace = 255;  // scatter: nothing goes back

// in: x {N,H,W,C}                      out: y {N,P,Q,C}, k {N,P,Q,C} u8
Variants<Pool2dShape> max_pool2d_variants();
// in: dy {N,P,Q,C}, k {N,P,Q,C} u8     out: dx {N,H,W,C}
Variants<Pool2dShape> max_pool2d_scatter_variants();
// in: x {N,H,W,C}, k {N,P,Q,C} u8      out: y {N,P,Q,C}
Variants<Pool2dShape> max_pool2d_gather_variants();
// in: x {N,H,W,C}                      out: y {N,P,Q,C}
Variants<Pool2dShape> avg_pool2d_variants();
// in: dy {N,P,Q,C}                     out: dx {N,H,W,C}
Variants<Pool2dShape> avg_pool2d_gradient_variants();

}  // namespace tapescope
