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

// Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063), signed: weights
//   w_k = sum_p relu(g_k(p)) / (2 + g_k(p) sum_q A_k(q)),
// the paper's alpha * relu(g) with g^2 cancelled; 0 where the denominator is 0.
Var grad_cam_plus_plus(Tape& tape, Var target, Var feature_map);

// XGrad-CAM (Fu et al. 2020, arXiv 2008.02312): w_k = sum_p A_k g_k / sum_p A_k, 0 for a channel
// that adds up to 0. Elsewhere sum_p M(p) = sum_{k,p} A_k g_k.
Var xgrad_cam(Tape& tape, Var target, Var feature_map);

// HiRes-CAM (Draelos and Carin 2020, arXiv 2011.08891): M(p) = sum_k g_k(p) A_k(p).
Var hires_cam(Tape& tape, Var target, Var feature_map);

// LayerCAM (Jiang et al. 2021, 10.1109/TIP.2021.3089943): M(p) = sum_k relu(g_k(p)) A_k(p).
Var layer_cam(Tape& tape, Var target, Var feature_map);

// Guided Grad-CAM (Selvaraju et al. 2017): guided backpropagation to `x` times the positive part of
// Grad-CAM, upsampled to x's size; of x's type.
Var guided_grad_cam(Tape& tape, Var target, Var feature_map, Var x);

// Eigen-CAM (Muhammad and Yeasin 2020, arXiv 2008.00299) of feature maps f32 {N,h,w,K}: each
// position's projection on the first right singular vector of the {h*w,K} matrix, not centred, as
// in the paper. A singular vector's sign is arbitrary: the one is taken for which the map goes
// along with sum_k A_k. {N,h,w,1}; the target plays no part.
Tensor eigen_cam(const Tensor& feature_map);

// CAM (Zhou et al. 2016, arXiv 1512.04150): {N,h,w,1} with M(p) = h*w * sum_k dy/dA_k(p) A_k(p),
// which is sum_k w_k A_k(p) where the score is a global mean followed by a linear layer with
// weights w. Defined where everything from `feature_map` to `target` is linear, and then
// y = mean_p M(p) + (what the biases add). Elsewhere an error that names the first node that is not
// linear.
Var cam(Tape& tape, Var target, Var feature_map);

}  // namespace tapescope::explain
