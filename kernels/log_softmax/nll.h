// Negative log likelihood of a label straight from logits: log-softmax and gather in one pass over
// the row, without the log-probabilities in between.
//
//   log_softmax_nll:          y_n   = m_n + log(sum_c exp(x_nc - m_n)) - x_n,label(n)
//   log_softmax_nll_gradient: dx_nc = dy_n * (softmax(x_n)_c - [c = label(n)])
//
// A label outside [0, C) is a usage error on the CPU; on a GPU, where a kernel cannot throw, its
// row becomes NaN.
#pragma once

#include "kernels/log_softmax/log_softmax.h"

namespace tapescope {

// in: x {rows, C}, label {rows} i64               out: y {rows}
Variants<SoftmaxShape> log_softmax_nll_variants();
// in: dy {rows}, x {rows, C}, label {rows} i64    out: dx {rows, C}; may be x
Variants<SoftmaxShape> log_softmax_nll_gradient_variants();

}  // namespace tapescope
