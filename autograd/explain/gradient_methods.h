// Explanations that are one gradient program: nodes appended to an evaluation tape.
#pragma once

#include "autograd/explain/target.h"

namespace tapescope::explain {

// dy/dx, signed, of x's type (Simonyan et al. 2013, arXiv 1312.6034). `target` is {N}: one pass
// gives each sample its own gradient. Absolute values belong to the display.
Var saliency(Tape& tape, Var target, Var x);

// x * dy/dx (Shrikumar et al. 2016, arXiv 1605.01713). For a bias-free ReLU net it sums to y.
Var input_x_gradient(Tape& tape, Var target, Var x);

}  // namespace tapescope::explain
