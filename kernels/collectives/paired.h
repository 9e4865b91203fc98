// A communicator of messages between pairs of ranks.
#pragma once

#include <memory>

#include "kernels/collectives/communicator.h"
#include "kernels/collectives/message_link.h"

namespace tapescope {

// Sums are those of paired_sum.h, and go on while other calls are made. `transport` outlives it (a
// literal).
std::unique_ptr<Communicator> make_paired(std::string_view transport,
                                          std::unique_ptr<MessageLink> link, double rank_timeout);

}  // namespace tapescope
