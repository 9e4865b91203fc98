// Ops that Programs put in the place of several recorded ones: see program/fuse.h.
#pragma once

#include <optional>

#include "autograd/op.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {

// Dropout of a relu's result as one kernel, and what is left of dropout in its gradient, where the
// sign of the result says what both let through.
struct ReluDropout {
  OpRef forward;   // of relu's operand and the step
  OpRef backward;  // of the cotangent alone
};
// Nothing where `op` is no dropout.
std::optional<ReluDropout> dropout_of_relu(const Op& op);

// The element-wise op of one operand, p0 and p1 being the function's constants.
OpRef unary_op(Unary function, double p0, double p1);

}  // namespace tapescope
