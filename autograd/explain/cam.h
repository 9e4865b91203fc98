// Class activation maps: where in a feature map the evidence lies.
#pragma once

#include <string>

#include "autograd/explain/target.h"

namespace tapescope::explain {

// The last image-shaped node {N,h,w,K} with more than one position between `x` and `target`: what
// the CAM methods look at unless told otherwise.
Var last_feature_map(Tape& tape, Var target, Var x);

// Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) before its ReLU: {N,h,w,1} with
//   M(p) = sum_k w_k A_k(p),  w_k = mean_p dy/dA_k(p).
// Signed: an all-negative map is an answer too, and a ReLU would turn it into nothing.
// `feature_map` is a node of shape {N,h,w,K}.
Var grad_cam(Tape& tape, Var target, Var feature_map);
Var grad_cam(Tape& tape, Var target, std::string_view path);

// CAM (Zhou et al. 2016, arXiv 1512.04150): {N,h,w,1} with M(p) = h*w * sum_k dy/dA_k(p) A_k(p),
// which is sum_k w_k A_k(p) where the score is a global mean followed by a linear layer with
// weights w. Defined where everything from `feature_map` to `target` is linear, and then
// y = mean_p M(p) + (what the biases add). Elsewhere an error that names the first node that is not
// linear.
Var cam(Tape& tape, Var target, Var feature_map);

}  // namespace tapescope::explain
