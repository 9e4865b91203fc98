#include "autograd/explain/gradient_methods.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope::explain {

Var saliency(Tape& tape, Var target, Var x) {
  require_evaluation(tape, "saliency");
  return tape.gradient(target, {x})[0];
}

Var input_x_gradient(Tape& tape, Var target, Var x) {
  require_evaluation(tape, "input-x-gradient");
  return mul(x, tape.gradient(target, {x})[0]);
}

}  // namespace tapescope::explain
