// Ops that only Programs compute, in the place of several recorded ones: see fuse.h.
#pragma once

#include <optional>

#include "autograd/op.h"

namespace tapescope {

// Dropout of a relu's result as one kernel, and what is left of dropout in its gradient, where the
// sign of the result says what both let through.
struct ReluDropout {
  OpRef forward;   // of relu's operand and the step
  OpRef backward;  // of the cotangent alone
};
// Nothing where `op` is no dropout.
std::optional<ReluDropout> dropout_of_relu(const OpRef& op);

// What relu makes of a batch normalisation in training, or of its sum with a residual branch, as
// one kernel, and the gradient of both, which makes relu's mask again.
struct BatchNormRelu {
  OpRef forward;   // of the normalisation's operands, and the branch: y, mean, variance, factor,
                   // offset
  OpRef backward;  // of relu's cotangent, x, mean, variance, scale, and y (with a branch) or factor
                   // and offset: dx, dscale, dshift, and the branch's cotangent
};
// Nothing where `op` is no such normalisation.
std::optional<BatchNormRelu> relu_of_batch_norm(const Op& op, bool residual);

// max_pool2d of a relu's result from what relu was given. Its index says where nothing goes back:
// the scatter of its cotangent is relu's cotangent already.
OpRef max_pool2d_of_relu(OpRef pool);

}  // namespace tapescope
