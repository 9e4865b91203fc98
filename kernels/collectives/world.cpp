#include "kernels/collectives/world.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/error.h"
#include "engine/processors.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/local.h"
#include "kernels/collectives/mpi_library.h"
#include "kernels/collectives/paired.h"
#include "kernels/collectives/processor_shares.h"
#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

std::unique_ptr<Communicator> join_launched_here(const Launched& launched,
                                                 const WorldOptions& options) {
  const auto world = std::make_shared<LocalWorld>(launched.descriptor, launched.ranks);
  ::close(launched.descriptor);
  if (world->launcher() != 0) {
    // Who started the ranks watches them: none outlives it. It may be gone already.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != world->launcher()) {
      throw failure("process {}, which started the ranks, has ended", world->launcher());
    }
  }
  LocalOptions local;
  local.rank_timeout = options.rank_timeout;
  local.spin = allowed_processors().size() >= static_cast<std::size_t>(launched.ranks);
  return join_local(world, launched.rank, local);
}

std::unique_ptr<Communicator> join_by_mpi(const Launched& launched, const WorldOptions& options) {
  std::unique_ptr<MessageLink> link = open_mpi();
  if (link->size() != launched.ranks) {
    throw usage_error(
        "{} started {} ranks, but MPI finds {}: the launcher belongs to another MPI than the "
        "library "
        "that this program was built with; use that one's mpirun, or srun --mpi=pmix",
        launched.by, launched.ranks, link->size());
  }
  return make_paired("mpi", std::move(link), options.rank_timeout);
}

}  // namespace

std::unique_ptr<Communicator> join_world(const WorldOptions& options) {
  const std::string& wanted = options.transport;
  if (wanted != "auto" && wanted != "local" && wanted != "mpi" && wanted != "none") {
    throw usage_error("unknown transport '{}'; known are auto, local, mpi, none", wanted);
  }
  if (wanted == "none") return nullptr;
  const Launched found = launched();
  if (wanted == "mpi" && found.by.empty()) {
    throw usage_error(
        "the transport mpi was asked for, but nothing started this process as one of several "
        "ranks; "
        "start it by mpirun -n 4, or srun --mpi=pmix");
  }
  if (found.ranks == 1) return nullptr;
  if (found.transport.empty()) {
    throw usage_error(
        "{} says that this is rank {} of {}, but there is no transport for its ranks here; start "
        "them "
        "by --ranks {} or by mpirun, or let each train by itself with the transport none",
        found.by, found.rank, found.ranks, found.ranks);
  }
  expect_rank_count(found.ranks);
  if (wanted != "auto" && wanted != found.transport) {
    throw usage_error("{} started {} ranks, which speak through '{}' and not through '{}'",
                      found.by, found.ranks, found.transport, wanted);
  }
  if (!(options.rank_timeout > 0)) {
    throw usage_error("the time-out of ranks is {} s; it must be more than 0",
                      options.rank_timeout);
  }
  std::unique_ptr<Communicator> ranks =
      found.transport == "local" ? join_launched_here(found, options) : join_by_mpi(found, options);
  share_processors(*ranks);
  return ranks;
}

std::vector<TransportInfo> transports() {
  const std::string no_mpi = why_no_mpi();
  return {{"local", "ranks on one machine, through memory", true, ""},
          {"mpi", "ranks that mpirun or srun starts", no_mpi.empty(), no_mpi},
          {"nccl", "ranks on GPUs", false, "needs a CUDA build and libnccl"}};
}

}  // namespace tapescope
