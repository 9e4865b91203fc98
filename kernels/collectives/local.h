// Ranks on one machine: they speak through memory that they share.
#pragma once

#include <memory>

#include "kernels/collectives/communicator.h"
#include "kernels/collectives/local_world.h"

namespace tapescope {

struct LocalOptions {
  double rank_timeout = 300;  // seconds
  // Whether each rank has a processor to itself: one that waits looks again and again for a moment
  // before it sleeps.
  bool spin = true;
};

// Enters `world` as `rank` and returns when all ranks have. Throws a usage error where the rank is
// not below the number of ranks, RankEnded and failures as Communicator does.
std::unique_ptr<Communicator> join_local(std::shared_ptr<LocalWorld> world, int rank,
                                         const LocalOptions& options = {});

}  // namespace tapescope
