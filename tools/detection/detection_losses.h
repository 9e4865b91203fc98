// What a centre detector learns from, one value per sample {N} whose mean is the batch's loss.
#pragma once

#include "autograd/ops/ops.h"

namespace tapescope::detection {

// Law and Deng 2018 (arXiv 1808.01244, equation 1) with alpha 2 and beta 4: of logits and heat
// {N,h,w,C}, with p = sigmoid(logit)
//   heat = 1:  -(1 - p)^2 log p          elsewhere:  -(1 - heat)^4 p^2 log(1 - p)
// summed and divided by the number of centres in the batch, at least 1. From the logit by softplus:
// no logarithm of a rounded probability.
Var penalty_reduced_focal_loss(Var logits, Var heat);

// How many cells and classes of each sample are an object's centre: {N,h,w,C} to {N}.
Var centres_per_sample(Var heat);

// The generalised IoU (Rezatofighi et al. 2019, arXiv 1902.09630) of boxes a and b, each (x0, y0,
// x1, y1) with x0 <= x1 in the last axis of {N,h,w,4}: IoU - (hull - union) / hull, in [-1, 1],
// {N,h,w,1}.
Var generalised_iou(Var a, Var b);

// (x0, y0, x1, y1) from the distances {N,h,w,4} to the sides, seen from each cell's corner.
Var decode_sides(Var ltrb, std::int64_t stride);

// 5 sum(weight (1 - GIoU)) / (sum(weight) + 1e-4), of boxes {N,h,w,4} and weight {N,h,w,1}.
Var box_loss(Var boxes, Var sides, Var weight);

}  // namespace tapescope::detection
