#include "layers/losses.h"

#include "engine/error.h"

namespace tapescope {

Var nll_loss(Var log_probabilities, Var label) { return neg(gather(log_probabilities, label)); }

Var cross_entropy(Var logits, Var label, double smoothing) {
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw usage_error("label smoothing is {}; it must be at least 0 and below 1", smoothing);
  }
  const Var log_probabilities = log_softmax(logits);
  const Var hard = nll_loss(log_probabilities, label);
  if (smoothing == 0) return hard;
  constexpr int kClasses[] = {1};
  const Var soft = neg(reshape(reduce_mean(log_probabilities, kClasses), {}));
  return add(affine(hard, 1 - smoothing), affine(soft, smoothing));
}

Var focal_loss(Var logits, Var label, double gamma) {
  if (!(gamma >= 0)) throw usage_error("the focal loss's gamma is {}; it must not be negative", gamma);
  const Var log_p = gather(log_softmax(logits), label);
  if (gamma == 0) return neg(log_p);
  const Var missing = affine(exp(log_p), -1, 1);  // 1 - p, at least 0 since log p <= 0
  return neg(mul(gamma == 2 ? square(missing) : pow(missing, gamma), log_p));
}

}  // namespace tapescope
