// A communicator of messages between pairs of ranks.
#pragma once

#include <memory>

#include "kernels/collectives/communicator.h"
#include "kernels/collectives/message_link.h"

namespace tapescope {

// Recursive doubling: in round d rank r exchanges with r ^ d what it has, and lower + higher is the
// sum over both halves: the tree of tree.h. `transport` outlives it (a literal).
std::unique_ptr<Communicator> make_paired(std::string_view transport,
                                          std::unique_ptr<MessageLink> link, double rank_timeout);

}  // namespace tapescope
