// Stochastic depth: dropout of whole samples, made of other ops.
#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

Var stochastic_depth(Var x, double p) {
  require_operands("stochastic_depth", {x});
  if (x.tape().mode() == Mode::evaluation || p == 0) return x;
  Var one = x;  // an element of each sample: only their number is read
  for (int axis = 1; axis < x.shape().rank(); ++axis) one = slice(one, axis, 0, 1);
  return mul(x, dropout(ones_like(one), p));
}

}  // namespace tapescope
