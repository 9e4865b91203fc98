// Classification losses, one value a sample {N}: the caller takes the mean.
#pragma once

#include "autograd/ops/ops.h"

namespace tapescope {

// -log p[label], from log-probabilities {N, C} and labels i64 {N}.
Var nll_loss(Var log_probabilities, Var label);

// Cross entropy of softmax(logits) with the label, as PyTorch smooths it:
// (1 - smoothing) * -log p[label] + smoothing * mean over classes of -log p.
Var cross_entropy(Var logits, Var label, double smoothing = 0);

// Lin et al. 2017 (arXiv 1708.02002): -(1 - p)^gamma log p with p the label's probability.
// gamma 0 is cross entropy.
Var focal_loss(Var logits, Var label, double gamma = 2);

}  // namespace tapescope
