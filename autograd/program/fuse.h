// Recorded ops that a Program computes by one kernel.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "autograd/node.h"
#include "engine/thread_pool.h"

namespace tapescope {

// What is computed in place of a node: it may have more outputs. Nodes that nothing reads any more
// are dead code.
struct Replacement {
  OpRef op;
  std::vector<Var> operands;
};

struct Fused {
  std::unordered_map<const Node*, Replacement> replaced;
  std::unordered_map<const Node*, Var> same;  // the value that stands for a node's only output
};

// The same values by fewer passes over memory, where nobody else reads what lies between:
//
//   dropout(relu(x))                as relu_dropout(x); in its gradient
//   mask_positive(dropout(dy), ..)  as mask_positive(dy / (1 - p), relu_dropout(x))
//   relu(batch_norm_training(x))    as batch_norm_relu(x), and with a residual branch r recorded
//   relu(batch_norm_training(x)+r)  before it as batch_norm_relu(x, r); in their gradients
//   batch_norm_gradient(mask_positive(dy, ..), ..)  as batch_norm_relu_gradient(dy, ..)
//   max_pool2d(relu(x))             as max_pool2d_relu(x), whose scatter needs no mask_positive
//
// `nodes` are those that the Program computes, in recorded order; `kept` are read when it has run;
// what `given` answers yes to has a value before it runs.
Fused fuse(std::span<const Node* const> nodes, std::span<const Var> kept,
           FunctionRef<bool(const Var&)> given);

}  // namespace tapescope
