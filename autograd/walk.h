// The one backward walk: gradients and relevance differ only in what is appended at each node.
#pragma once

#include "autograd/reach.h"
#include "engine/thread_pool.h"

namespace tapescope {

// Where the walk starts: an output and the cotangent fed into it.
struct Seed {
  Var target;
  Var cotangent;
};

// Called once, in the node's scope under the walk's prefix, for each node that lies between a seed
// and a wanted Var, in reverse order of recording, when all that flows into its outputs has been
// added up. Fills `results` (one an operand) with what flows to each operand of the set `wanted`;
// null means nothing.
using Visit = FunctionRef<void(const Node& node, std::span<const Var> cotangents, unsigned wanted,
                               std::span<Var> results)>;

// Walks back from the seeds and returns what arrives at each of `wrt`: null where nothing does.
// What is appended for a node "conv1/conv2d" lies in the scope "<prefix>/conv1", with that node as
// its origin.
// Contributions to one Var are added with `add` nodes in the order in which they arrive. If the
// visitor throws, the tape is rolled back to where it was. Nodes before `first` are not entered.
std::vector<Var> walk(Tape& tape, const char* prefix, std::span<const Seed> seeds,
                      std::span<const Var> wrt, Visit visit, std::uint32_t first = 0);

}  // namespace tapescope
