// Optimisers append their updates to the tape: a training step is one program.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

struct OptimizerConfig {
  std::string name = "sgd";    // "sgd" or "adamw"
  double weight_decay = 5e-4;  // on weights only, not on biases and norms
  SgdOptions sgd = {};
  AdamWOptions adamw = {};
  double clip_gradient = 0;  // largest global norm of all gradients together; 0: none
  // By parameter, what its learning rate is multiplied with (Howard and Ruder 2018, "Universal
  // language model fine-tuning", section 3.2); 1 where a name is not among them.
  std::map<std::string, double> rate_factors = {};
};

class Optimizer {
 public:
  explicit Optimizer(OptimizerConfig config);

  // Appends the update of each parameter from its gradient. Buffers and frozen parameters may be
  // among them and stay as they are. The gradients' tape must be given the inputs "learning_rate"
  // (f32 scalar) and, for AdamW, "step" (i64 scalar, counting from 0) at each run. Returns every
  // effect recorded on the tape so far, those of batch norms as well: what to give to
  // Tape::compile, with nothing to add. May be called again for another tape, with more parameters
  // or fewer: the moments of a name are the same.
  Effects update(std::span<const ParameterRef> parameters, std::span<const Var> gradients);

  // The moments, named "<parameter>.momentum", "<parameter>.exp_avg", ...: for the state file.
  const std::vector<ParameterRef>& states() const { return states_; }
  // All moments to zero, as before the first step.
  void forget();
  // The gradients' global norm before clipping, of the last update(); for the history.
  Var gradient_norm() const { return gradient_norm_; }
  // Each trained parameter's sum of squares of its gradient, in order: a vector.
  Var gradient_squares() const { return gradient_squares_; }

 private:
  ParameterRef state(const Parameter& parameter, std::string_view name);
  double rate_factor(const Parameter& parameter) const;
  OptimizerConfig config_;
  std::vector<ParameterRef> states_;
  Var gradient_norm_, gradient_squares_;
};

}  // namespace tapescope
