// A training of several processes on this machine: starting them, watching them, ending them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace tapescope {

struct RanksRequest {
  int ranks = 2;
  // This program's own, its name first, where empty.
  std::vector<std::string> arguments = {};
  // Where a training can go on; empty: nowhere yet. Asked where a rank was lost.
  std::function<std::string()> last_checkpoint;
  double grace_seconds = 10;  // from SIGTERM to SIGKILL, for ranks that others wait for in vain
};

// Starts this program anew `ranks` times, each as a rank of transport "local" (join_world of
// kernels/collectives), and returns when none is left: no rank outlives the call, nor this process.
// Rank 0 has stdin, stdout and stderr; of the others stdout goes nowhere, and stderr is told where
// one of them was the first to fail. SIGINT, SIGTERM and SIGHUP are passed on. To be called before
// threads are started, which would take the signals.
//
// Returns rank 0's exit status where all ended alike, or where it failed and has said why (2, or
// 1). Throws the sentence where another rank did or one was killed: a usage error where that rank's
// status was 2, else a failure that names rank, process, end and last checkpoint. Throws a usage
// error where the number is no power of two, a failure where a process cannot be started.
int run_ranks(const RanksRequest& request);

// Of a rank that ends because another one has: run_ranks tells of that one, so this one says
// nothing where watched_by_launcher().
constexpr int kOtherRankEnded = 3;
bool watched_by_launcher();

}  // namespace tapescope
