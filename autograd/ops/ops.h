// The functions that record: what layers, losses and explanations are written in. Each is defined
// in the file of its op. Images are {N, H, W, C}.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "autograd/node.h"

namespace tapescope {

// --- element-wise, with NumPy broadcasting (elementwise.cpp)
Var add(Var a, Var b);
Var sub(Var a, Var b);
Var mul(Var a, Var b);
Var div(Var a, Var b);
Var maximum(Var a, Var b);  // ties: the gradient goes to a
Var minimum(Var a, Var b);
Var equal(Var a, Var b);          // 1 where equal, else 0
Var greater(Var a, Var b);        // 1 where a > b, else 0
Var mask_positive(Var a, Var b);  // a where b > 0, else 0: relu's vector-Jacobian product

Var relu(Var x);  // relu'(0) = 0
Var sigmoid(Var x);
Var sqrt(Var x);
Var neg(Var x);
Var square(Var x);
Var affine(Var x, double scale, double offset = 0);  // scale * x + offset

// --- counters (increment.cpp)
Var increment(Var x);  // i64: x + 1

// --- shapes (reshape.cpp, transpose.cpp)
// Keeps the leading axis: {N, ...} to {N, per_sample...}. Shares memory.
Var reshape(Var x, Shape per_sample);
// All axes, the leading one as well: for what has no batch axis. Shares memory.
Var reshape_all(Var x, Shape shape);
// {N, H, W, C} to {N, C*H*W} in C, H, W order, as PyTorch flattens; {N, ...} otherwise in order.
Var flatten(Var x);
Var transpose(Var x, std::span<const int> permutation);

// --- reductions (reduce.cpp); axes are kept with extent 1
Var reduce_sum(Var x, std::span<const int> axes);
Var reduce_mean(Var x, std::span<const int> axes);
Var reduce_max(Var x, std::span<const int> axes);  // ties: the gradient is shared out evenly
Var sum(Var x);                                    // all axes, to a scalar {}
Var mean(Var x);                                   // all axes, to a scalar {}
Var reduce_like(Var x, Var like);     // sums x down to like's shape (broadcasting backwards)
Var broadcast_like(Var x, Var like);  // repeats x up to like's shape
// How many elements of x there are for each element of like, a scalar f32 {}: what sums over the
// batch are divided by, whatever its size.
Var count_like(Var x, Var like);
Var zeros_like(Var x);
Var ones_like(Var x);

// --- matrix product (matmul.cpp)
// a {M,K} (or {K,M}) times b {K,N} (or {N,K}), plus bias {N} where given.
Var matmul(Var a, Var b, bool transpose_a = false, bool transpose_b = false, Var bias = {});
// x {N, in}, weight {out, in}, bias {out} or null.
Var linear(Var x, Var weight, Var bias = {});

// --- convolution (conv2d.cpp)
struct Conv2dOptions {
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
};
// x {N,H,W,I}, weight {O,KH,KW,I/groups}, bias {O} or null -> {N,P,Q,O}.
Var conv2d(Var x, Var weight, Var bias, const Conv2dOptions& options);
// What conv2d's gradients append. `like` gives dx its shape, or dw its kernel size.
Var conv2d_data_gradient(Var dy, Var weight, Var like, const Conv2dOptions& options);
Var conv2d_weight_gradient(Var x, Var dy, Var like, const Conv2dOptions& options);

// --- pooling (pool2d.cpp)
struct Pool2dOptions {
  std::int64_t kernel_h = 2, kernel_w = 2, stride_h = 2, stride_w = 2, pad_h = 0, pad_w = 0;
  bool count_include_pad = true;  // avg only, as PyTorch's default
};
Var max_pool2d(Var x, const Pool2dOptions& options);  // ties: the first in scan order
Var avg_pool2d(Var x, const Pool2dOptions& options);
Var global_avg_pool2d(Var x);  // {N,H,W,C} -> {N,C}

// --- normalisation and random (batch_norm.cpp, dropout.cpp)
struct BatchNormResult {
  Var y, mean, variance;  // {N,...,C}, {C}, {C}: the batch's mean and biased variance
};
BatchNormResult batch_norm_training(Var x, Var scale, Var shift, double epsilon = 1e-5);
Var batch_norm_inference(Var x, Var scale, Var shift, Var mean, Var variance,
                         double epsilon = 1e-5);
// Zeroes each element with probability p and divides the rest by 1 - p; identity on an evaluation
// tape. The mask is a function of (tape seed, scope, step, row, element) and is never stored.
Var dropout(Var x, double p);

// --- loss (log_softmax_nll.cpp)
// logits {N,C}, label i64 {N} -> {N}: minus the label's log-probability, in one pass.
Var log_softmax_nll(Var logits, Var label);

// --- optimisers (optimizer.cpp): new values; they may be written in place
struct SgdOptions {
  double momentum = 0.9, weight_decay = 0;
  bool nesterov = false;
};
struct SgdResult {
  Var parameter, velocity;
};
SgdResult sgd_update(Var parameter, Var gradient, Var velocity, Var learning_rate,
                     const SgdOptions& options);
struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.01;
};
struct AdamWResult {
  Var parameter, first_moment, second_moment;
};
// `step` is an i64 scalar counting from 1.
AdamWResult adamw_update(Var parameter, Var gradient, Var first_moment, Var second_moment,
                         Var learning_rate, Var step, const AdamWOptions& options);

}  // namespace tapescope

#include "autograd/more_ops/more_ops.h"
#include "autograd/more_ops/precision.h"
