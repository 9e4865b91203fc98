// Functions that record ops which no net of the zoo needs: explanations, losses and detectors do.
// Included by ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "autograd/node.h"

namespace tapescope {

class Communicator;

// --- element-wise (functions.cpp)
// Every function of kernels/elementwise/functions.inc that has no parameters is recorded by its
// name: Var gelu(Var x), Var safe_divide(Var a, Var b).
#define TAPESCOPE_UNARY(name, ...) Var name(Var x);
#define TAPESCOPE_BINARY(name, ...) Var name(Var a, Var b);
#define TAPESCOPE_UNARY_WITH(name, ...)
#define TAPESCOPE_UNARY_SLOW(name, ...)
#define TAPESCOPE_BINARY_WITH(name, ...)
#define TAPESCOPE_BINARY_SLOW(name, ...)
#include "kernels/elementwise/functions.inc"
Var weighted_sum(Var a, double weight_a, Var b, double weight_b);
Var leaky_relu(Var x, double slope = 0.01);
Var elu(Var x, double alpha = 1.0);
// min(max(scale x + offset, 0), 1) (Howard et al. 2019, arXiv 1905.02244).
Var hard_sigmoid(Var x, double scale = 1.0 / 6, double offset = 0.5);
Var clamp(Var x, double low, double high);
Var inside(Var x, double low, double high);  // 1 where low <= x <= high, else 0
Var stabilize(Var x, double epsilon);        // x +- epsilon, away from zero; 0 becomes +epsilon
Var pow(Var x, double exponent);
Var pow(Var x, Var exponent);  // NaN where x < 0 and the exponent is no whole number

// --- rows (log_softmax.cpp, gather.cpp)
Var softmax(Var x);      // last axis
Var log_softmax(Var x);  // last axis
// x {N,C}, index i64 {N} -> {N}: x[n, index[n]].
Var gather(Var x, Var index);
// g {N}, index i64 {N} -> like's shape {N,C}, zero elsewhere: gather's adjoint.
Var scatter(Var g, Var index, Var like);

// --- matrices (batched_matmul.cpp)
// a {.., M, K} by b {.., K, N} -> {.., M, N}, the leading extents equal and at least one.
Var batched_matmul(Var a, Var b, bool transpose_a = false, bool transpose_b = false);

// --- normalisation, random (layer_norm.cpp, stochastic_depth.cpp)
// x {N, ..., C}, each position's channels normalised by their own mean and (biased) variance;
// scale and shift {C}.
Var layer_norm(Var x, Var scale, Var shift, double epsilon = 1e-5);
// The same over all positions of a sample and the channels of one of `groups` groups (Wu and He
// 2018, arXiv 1803.08494): made of other ops.
Var group_norm(Var x, std::int64_t groups, Var scale, Var shift, double epsilon = 1e-5);
// Zeroes whole samples with probability p and divides the rest by 1 - p (Huang et al. 2016, arXiv
// 1603.09382); identity on an evaluation tape. Keyed as dropout is.
Var stochastic_depth(Var x, double p);

// --- shapes, resampling, dtypes (layout.cpp, upsample.cpp, cast.cpp)
Var pad(Var x, std::span<const std::int64_t> before, std::span<const std::int64_t> after,
        double value = 0);
Var slice(Var x, int axis, std::int64_t begin, std::int64_t end);  // [begin, end) of the axis
Var concat(std::span<const Var> parts, int axis);                  // 1 to 15 parts
Var packed(std::span<const Var> parts);  // all elements of all parts, any number of them: {n}
// What `parts[part]` contributed to `whole = concat(parts, axis)`; of the parts only the shapes are
// read, so a batch that was joined along axis 0 can be taken apart at any batch size.
Var concat_part(Var whole, std::span<const Var> parts, int axis, int part);
Var upsample_nearest(Var x, std::int64_t factor);                       // {N,H,W,C}
Var upsample_bilinear(Var x, std::int64_t height, std::int64_t width);  // half-pixel centres
Var cast(Var x, DType dtype);

// --- what a training step keeps account of (running_statistics.cpp, square_sums.cpp); no gradient
struct RunningStatistics {
  Var mean, variance, batches;  // {C}, {C}, i64 {}
};
// `old` after a batch x {N,...,C} with this mean and biased variance: kernels/more_ops.
RunningStatistics running_statistics(const RunningStatistics& old, Var mean, Var variance, Var x,
                                     double momentum);
Var square_sums(std::span<const Var> xs);  // {n}: the sum of squares of each, any number of them
Var sum_in_order(Var x);                   // {n} -> {}: ((x0 + x1) + x2) + ...

// --- processes (all_reduce.cpp)
// The sum over all ranks, f32 or f64, the same bits on each: kernels/collectives/communicator.h.
// Null: one rank.
Var all_reduce(Var x, Communicator* ranks);

}  // namespace tapescope
