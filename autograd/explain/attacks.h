// Small changes of a picture that change the answer.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "autograd/explain/path_methods.h"

namespace tapescope::explain {

enum class Norm : unsigned char { linf, l2 };

struct AttackOptions {
  double radius = 0.03;  // of the ball around the picture, in the input's units
  double step = 0.01;    // linf: of every element; l2: length, along the gradient
  int steps = 10;
  Norm norm = Norm::linf;
  // The gradient is that of a loss which is raised; targeted: of the wanted class, and lowered.
  bool targeted = false;
  std::optional<std::uint64_t> random_start = {};  // a seed: start anywhere in the ball
  // What a picture can hold.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// `loss_gradient`: f32 {N,...} -> the loss's gradient there, of a differentiable loss such as
// -log_probability. Elements whose gradient is 0 do not move. All give f32 {N,...}.

// Fast gradient sign (Goodfellow et al. 2015, arXiv 1412.6572): one step of `epsilon`.
Tensor fgsm(const Gradients& loss_gradient, const Tensor& x, double epsilon, bool targeted = false,
            double low = -std::numeric_limits<double>::infinity(),
            double high = std::numeric_limits<double>::infinity());

// Projected gradient (Madry et al. 2018, arXiv 1706.06083): steps, each brought back into the ball
// and the bounds.
Tensor pgd(const Gradients& loss_gradient, const Tensor& x, const AttackOptions& options);

}  // namespace tapescope::explain
