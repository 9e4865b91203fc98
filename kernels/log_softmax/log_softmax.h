// Softmax and log-softmax over the last axis, and their gradients.
//
//   log_softmax:          y = x - m - log(sum_c exp(x_c - m)),   m = max_c x_c
//   softmax:              y = exp(x - m) / sum_c exp(x_c - m)
//   log_softmax_gradient: dx = dy - exp(y) * sum_c dy_c
//   softmax_gradient:     dx = y * (dy - sum_c dy_c y_c)
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct SoftmaxShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t C = 0;
};

// in: x {rows, C}    out: y {rows, C}; may be x
Variants<SoftmaxShape> log_softmax_variants();
Variants<SoftmaxShape> softmax_variants();
// in: dy {rows, C}, y {rows, C} (the forward result)    out: dx {rows, C}; may be dy
Variants<SoftmaxShape> log_softmax_gradient_variants();
Variants<SoftmaxShape> softmax_gradient_variants();

}  // namespace tapescope
