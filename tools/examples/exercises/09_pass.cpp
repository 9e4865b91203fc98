// Exercise 9: a pass of the compiler. `tools/exercise 9` judges.
#include <algorithm>

#include "autograd/program/fused_ops.h"
#include "tools/examples/exercises/judge.h"

using namespace tapescope;

// max_pool2d(relu(x)) as one kernel, max_pool2d_relu(x): relu's result is never in memory.
// `nodes` are those that the Program computes, in recorded order; `kept` are read when it has run.
Fused mine(std::span<const Node* const> nodes, std::span<const Var> kept,
           FunctionRef<bool(const Var&)>) {
  Fused fused;
  for (const Node* pool : nodes) {
    if (pool->op->name() != "max_pool2d") continue;
    const Var before = pool->operands()[0];
    if (before.node->op->name() != "relu") continue;
    // TODO: who else reads `before`? It will not be there.
    (void)kept;
    fused.replaced[pool] = {max_pool2d_of_relu(pool->op), {before.node->operands()[0]}};
  }
  return fused;
}

const judge::Exercise kExercise = judge::pool_pass(
    mine, "Look for a node of the name max_pool2d whose operand is a node of the name relu.",
    "What is fused away nobody can read: leave the nodes alone where another node has relu's result as "
    "an operand, or the caller has it among `kept`.");
