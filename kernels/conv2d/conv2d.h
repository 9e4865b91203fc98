// 2-d convolution (cross-correlation, as in every deep-learning library) and its two gradients.
//
//   y[n,p,q,o]  = bias[o] + sum_{r,s,i} x[n, p*stride - pad + r*dilation, q*... , i] * w[o,r,s,i]
//   dx          : the transpose of that map applied to dy
//   dw[o,r,s,i] = sum_{n,p,q} dy[n,p,q,o] * x[n, p*stride - pad + r*dilation, ..., i]
//
// With G groups the input channels of group g are [g*I/G, (g+1)*I/G), and likewise the outputs.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct Conv2dShape {
  DType dtype = DType::f32;
  bool bias = false;
  std::int64_t N = 0, H = 0, W = 0, I = 0;  // x: {N, H, W, I}
  std::int64_t O = 0, KH = 1, KW = 1;       // w: {O, KH, KW, I / groups}
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  // Of a weight gradient on the CPU: pieces of the batch that are summed one by one, see
  // kernels/common/pieces.h; 0: there are none. A kernel that knows no pieces has no plan for them.
  std::int64_t pieces = 0;

  // y: {N, P, Q, O}. 0 where the kernel does not fit.
  std::int64_t P() const { return extent(H + 2 * pad_h - dilation_h * (KH - 1) - 1, stride_h); }
  std::int64_t Q() const { return extent(W + 2 * pad_w - dilation_w * (KW - 1) - 1, stride_w); }
  static std::int64_t extent(std::int64_t room, std::int64_t stride) {
    return room < 0 ? 0 : room / stride + 1;
  }
  // Multiply-adds of any of the three, padding counted.
  double macs() const {
    return static_cast<double>(N * P() * Q() * O) * static_cast<double>(KH * KW * (I / groups));
  }
  std::string key() const;  // kernels/common/choice.h
};

// Of bf16 the bias and dw are f32.
// in: x {N,H,W,I}, w {O,KH,KW,I/groups}, bias {O} or null    out: y {N,P,Q,O}
Variants<Conv2dShape> conv2d_variants();
// in: dy {N,P,Q,O}, w {O,KH,KW,I/groups}                      out: dx {N,H,W,I}
Variants<Conv2dShape> conv2d_data_gradient_variants();
// in: x {N,H,W,I}, dy {N,P,Q,O}                               out: dw {O,KH,KW,I/groups}
Variants<Conv2dShape> conv2d_weight_gradient_variants();

}  // namespace tapescope
