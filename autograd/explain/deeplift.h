// DeepLIFT with the Rescale rule (Shrikumar et al. 2017, arXiv 1704.02685).
#pragma once

#include "autograd/node.h"

namespace tapescope::explain {

// How much of y(x) - y(x') each element of x is answerable for, of x's type; the sum over a sample
// is that difference, to rounding. The model is on the tape twice, as the program that leads from
// `x` to `target` and the one that leads from `reference` to `reference_target`, both {N}; an error
// where the two were not recorded alike.
//
// Multipliers flow back like gradients. Linear ops keep their derivative; an element-wise function
// has (f(z) - f(z')) / (z - z'); a max pool gives what the sample's winner and the reference's
// winner contributed; a product of two explained operands is shared out as Shapley values are. Any
// other op that is not linear is listed in an error before anything is appended.
Var deeplift(Tape& tape, Var target, Var x, Var reference_target, Var reference);

}  // namespace tapescope::explain
