// What the ops that Programs put in the place of several recorded ones are made of: see
// program/fused_ops.h.
#pragma once

#include <optional>

#include "autograd/node.h"
#include "autograd/op.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/pool2d/pool2d.h"

namespace tapescope {

class Communicator;

// The epsilon of a batch normalisation in training, a max_pool2d's shape for an image, a conv2d's
// for an image, weights and perhaps a bias, a conv2d_weight_gradient's, a matmul's, what a dropout
// keeps. Nothing where `op` is another.
std::optional<double> epsilon_of_batch_norm(const Op& op);
std::optional<Pool2dShape> shape_of_max_pool(const Op& op, const Type& x);
std::optional<Conv2dShape> shape_of_conv2d(const Op& op, std::span<const Type> operands);
std::optional<Conv2dShape> shape_of_weight_gradient(const Op& op, std::span<const Type> operands);
std::optional<MatmulShape> shape_of_matmul(const Op& op, std::span<const Type> operands);
struct DropoutMask {
  double p = 0;  // of an element to go
  std::uint64_t key = 0;
};
std::optional<DropoutMask> mask_of_dropout(const Op& op);

// What decompositions record: dx, dscale and dshift.
std::vector<Var> batch_norm_gradient(std::span<const Var> dy_x_mean_variance_scale, double epsilon);
OpRef batch_norm_gradient_op(double epsilon);
OpRef all_reduce_op(Communicator* ranks);

// The element-wise op of one operand, p0 and p1 being the function's constants.
OpRef unary_op(Unary function, double p0, double p1);

}  // namespace tapescope
