// Mixed precision as a recording policy (Kalamkar et al. 2019, arXiv 1905.12322). A tape of
// TapeOptions::precision bf16 records casts, and ops follow the dtype of what they are given:
//
//   * convolutions and matrix products cast their operands down, once for each Var: all uses of a
//     weight share one copy. What follows them is bf16 as well;
//   * what is small stays f32 (engine/type.h, wide()): biases, norms' vectors and statistics,
//     gradients of weights. Kernels compute in f32 whatever they read;
//   * a model's outputs are cast up: losses, and what answers are made of, are f32.
//
// A tape of tf32 records what one of f32 does: its kernels are chosen otherwise.
// Parameters, optimisers and inputs stay f32, and so do tapes of another precision: explanations
// are f32 unless theirs is asked to be otherwise. A cast's vector-Jacobian product is a cast.
#pragma once

#include "autograd/node.h"

namespace tapescope {

// x in the precision of its tape, where that is less than x's. Null stays null.
Var lowered(Var x);
// bf16 as f32.
Var widened(Var x);
// Where f32 meets bf16: a parameter or a scalar comes down, else what is bf16 goes up.
void meet(Var& a, Var& b);

}  // namespace tapescope
