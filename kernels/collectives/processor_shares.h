// The processors of ranks that share a machine.
#pragma once

#include <span>
#include <vector>

#include "kernels/collectives/communicator.h"

namespace tapescope {

// Part `part` of `parts` of `processors`: disjoint ranges that cover all, or, where there are fewer
// processors than parts, one of them in turn.
std::vector<int> share_of(std::span<const int> processors, int part, int parts);

// Leaves this process its share of the processors that it may run on: they are divided among the
// ranks of this machine that may run on exactly the same ones. Where whoever started the ranks has
// bound them, each to processors of its own, that stays. All ranks call it, before their thread
// pools start.
void share_processors(Communicator& ranks);

}  // namespace tapescope
