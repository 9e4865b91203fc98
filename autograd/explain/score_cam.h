// Class activation maps weighted by what the score does, not by gradients.
#pragma once

#include "autograd/explain/perturbation.h"

namespace tapescope::explain {

// Score-CAM (Wang et al. 2020, arXiv 1910.01279): {N,h,w,1}, M(p) = sum_k w_k A_k(p) with w the
// softmax over channels of F(x * H_k), H_k being A_k brought to [0, 1] and to x's size. (The
// paper's F(x') is one number for all channels and leaves the softmax as it is.) features
// {N,h,w,K}, on the CPU; one forward pass a channel. Where there are more than `most` channels, the
// ones with the largest mean |A_k| are taken and the others weigh nothing.
Estimate score_cam(const Scores& scores, const Tensor& x, const Tensor& features, int most,
                   int chunk = 8);

// Ablation-CAM (Desai and Ramaswamy 2020, 10.1109/WACV45572.2020.9093360): w_k = (y - y with A_k
// zero) / |y|; by |y|, so that a negative score does not turn the map around. `tail` gives the
// scores of feature maps: one pass of the tail a channel, at most `most` of them as above.
Estimate ablation_cam(const Scores& tail, const Tensor& features, int most, int chunk = 8);

}  // namespace tapescope::explain
