// Recorded ops that a Program computes by one kernel.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "autograd/node.h"

namespace tapescope {

// What is computed in place of a node. Nodes that nothing reads any more are dead code.
struct Replacement {
  OpRef op;
  std::vector<Var> operands;
};
using Replacements = std::unordered_map<const Node*, Replacement>;

// dropout(relu(x)) as relu_dropout(x), and in its gradient
// mask_positive(dropout(dy), relu(x)) as mask_positive(dy / (1 - p), relu_dropout(x)): where
// nothing else reads relu(x) or dropout(dy). The same values. `nodes` are those that the Program
// computes, in recorded order; `kept` are read when it has run.
Replacements fuse(std::span<const Node* const> nodes, std::span<const Var> kept);

}  // namespace tapescope
