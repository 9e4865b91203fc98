// FullGrad: the picture's share and every bias's share of the answer.
#pragma once

#include "autograd/node.h"

namespace tapescope::explain {

// Srinivas and Fleuret 2019, arXiv 1905.00780.
struct FullGradient {
  Var map;         // {N,H,W,1}: psi(x g) + sum over nodes of psi(b g), see below
  Var input_part;  // {N}: sum of x g
  Var bias_part;   // {N}: sum over nodes of b g; on a net of ReLUs both add up to the target
};

// `x` is {N,H,W,C}. A node that is linear in what depends on x has as its b what it answers to
// zeros: its bias, or a normalisation's shift. psi makes a part absolute, scales all of it to [0,
// 1] within the sample, adds up its channels and brings it to x's size, as the authors' code does
// (with half-pixel centres where they align corners); nodes that are no feature maps count in
// `bias_part` only.
FullGradient full_gradient(Tape& tape, Var target, Var x);

}  // namespace tapescope::explain
