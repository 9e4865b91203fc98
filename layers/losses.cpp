#include "layers/losses.h"

#include "engine/error.h"

namespace tapescope {

Var nll_loss(Var log_probabilities, Var label) { return neg(gather(log_probabilities, label)); }

Var cross_entropy(Var logits, Var label, double smoothing) {
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw usage_error("label smoothing is {}; it must be at least 0 and below 1", smoothing);
  }
  if (smoothing == 0) return log_softmax_nll(logits, label);
  const Var log_probabilities = log_softmax(logits);
  const Var hard = nll_loss(log_probabilities, label);
  constexpr int kClasses[] = {1};
  const Var soft = neg(reshape(reduce_mean(log_probabilities, kClasses), {}));
  const Var of_hard = affine(hard, 1 - smoothing);
  return add(of_hard, affine(soft, smoothing));
}

Var focal_loss(Var logits, Var label, double gamma, Var alpha) {
  if (!(gamma >= 0 && gamma <= 100)) {
    throw usage_error("the focal loss's gamma is {}; it must be between 0 and 100", gamma);
  }
  const Var log_probabilities = log_softmax(logits);
  const Var log_p = gather(log_probabilities, label);
  const Var weighted = alpha ? gather(mul(log_probabilities, alpha), label) : log_p;
  if (gamma == 0) return neg(weighted);
  // 1 - p, kept off 0: there the derivative of a power below 1 is infinite, and times log p = 0 it
  // would be NaN.
  const Var missing = clamp(affine(exp(log_p), -1, 1), 1e-12, 1);
  return neg(mul(gamma == 2 ? square(missing) : pow(missing, gamma), weighted));
}

}  // namespace tapescope
