// The way into a training of several ranks.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/collectives/communicator.h"

namespace tapescope {

struct WorldOptions {
  // "auto": what the launcher's ranks speak through. "local", "mpi": that, or a usage error.
  // "nccl": values on GPUs from GPU to GPU, host data by the launcher's own. "none": each process
  // is alone, whatever the environment says.
  std::string transport = "auto";
  double rank_timeout = 300;  // seconds that a rank may keep others waiting, on the host
  // By "nccl": sums in the library's order, which is quicker, and gives other bits.
  bool fast_all_reduce = false;
};

// Joins the ranks that this process was started with (launched.h) and takes this rank's share of
// the machine's processors (processor_shares.h): before the thread pool starts. Null where it is
// the only one. Never silently alone: where the environment says that there are several, and
// nothing here can reach them or finds fewer, that is a usage error with the remedy; so is a number
// of ranks that is no power of two. Throws failures and RankEnded where others do not come.
std::unique_ptr<Communicator> join_world(const WorldOptions& options = {});

struct TransportInfo {
  std::string_view name;
  std::string_view note;  // what it is for
  bool available;
  std::string reason;  // why it is not
};
std::vector<TransportInfo> transports();

}  // namespace tapescope
