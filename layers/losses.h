// Classification losses, one value per sample {N}: the caller takes the mean. Logits and
// log-probabilities are {N, C}, labels i64 {N}; a label outside [0, C) is a usage error when it is
// met.
#pragma once

#include "autograd/ops/ops.h"

namespace tapescope {

// -log p[label], from log-probabilities.
Var nll_loss(Var log_probabilities, Var label);

// Cross entropy of softmax(logits) with the label, as PyTorch smooths it:
// (1 - smoothing) * -log p[label] + smoothing * mean over classes of -log p.
Var cross_entropy(Var logits, Var label, double smoothing = 0);

// Lin et al. 2017 (arXiv 1708.02002): -alpha (1 - p)^gamma log p with p the label's probability and
// alpha f32 {C} the weight of the label's class, or null for 1. gamma 0 is cross entropy.
Var focal_loss(Var logits, Var label, double gamma = 2, Var alpha = {});

}  // namespace tapescope
