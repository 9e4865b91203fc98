// The one backward walk: gradients and relevance differ only in what is appended at each node.
#pragma once

#include "autograd/node.h"
#include "engine/thread_pool.h"

namespace tapescope {

// Where the walk starts: an output and the cotangent fed into it.
struct Seed {
  Var target;
  Var cotangent;
};

// Called once for each node that lies between a seed and a wanted Var, in reverse order of
// recording, when all that flows into its outputs has been added up. Fills `results` (one an
// operand) with what flows to each operand of the set `wanted`; null means nothing.
using Visit = FunctionRef<void(const Node& node, std::span<const Var> cotangents, unsigned wanted,
                               std::span<Var> results)>;

// Walks back from the seeds and returns what arrives at each of `wrt`: null where nothing does.
// Contributions to one Var are added with `add` nodes in the order in which they arrive. If the
// visitor throws, the tape is rolled back to where it was. Nodes before `first` are not entered.
std::vector<Var> walk(Tape& tape, std::span<const Seed> seeds, std::span<const Var> wrt,
                      Visit visit, std::uint32_t first = 0);

// Which nodes of the tape (by index) depend on one of `wrt` through differentiable operands.
std::vector<bool> depends_on(const Tape& tape, std::span<const Var> wrt);

inline bool passes(Role role) {
  return role == Role::signal || role == Role::weight || role == Role::bias;
}

}  // namespace tapescope
