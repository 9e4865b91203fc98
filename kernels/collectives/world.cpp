#include "kernels/collectives/world.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "engine/error.h"
#include "engine/processors.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/local.h"
#include "kernels/collectives/mpi_library.h"
#include "kernels/collectives/nccl_ranks.h"
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

std::unique_ptr<Communicator> join_by_host(const Launched& launched, const WorldOptions& options) {
  if (launched.transport == "local") return join_launched_here(launched, options);
  if (launched.transport == "mpi") return join_by_mpi(launched, options);
  return nullptr;
}

std::unique_ptr<Communicator> join_by_nccl(const Launched& launched, const WorldOptions& options) {
  take_own_gpu(launched);
  if (const std::string why = why_no_nccl(); !why.empty()) {
    const bool only = launched.transport == "nccl";
    throw usage_error(
        "{} says that this is rank {} of {}, and NCCL cannot be used here: {}; {}", launched.by,
        launched.rank, launched.ranks, why,
        only ? fmt::format("start them by --ranks {} or by mpirun, which need none, or unset the "
                           "launcher's variables (RANK, WORLD_SIZE)",
                           launched.ranks)
             : fmt::format("leave out --transport, they speak through '{}' then",
                           launched.transport));
  }
  NcclOptions nccl;
  nccl.rank = launched.rank;
  nccl.ranks = launched.ranks;
  nccl.fast_all_reduce = options.fast_all_reduce;
  nccl.rank_timeout = options.rank_timeout;
  return join_nccl(nccl::library(), join_by_host(launched, options), nccl);
}

void expect_transport(const std::string& wanted, const Launched& found) {
  constexpr std::string_view kKnown[] = {"auto", "local", "mpi", "nccl", "none"};
  if (std::find(std::begin(kKnown), std::end(kKnown), wanted) == std::end(kKnown)) {
    throw usage_error("unknown transport '{}'; known are auto, local, mpi, nccl, none", wanted);
  }
  if ((wanted == "mpi" || wanted == "nccl") && found.by.empty()) {
    throw usage_error(
        "the transport {} was asked for, but nothing started this process as one of several ranks; "
        "start it by {}",
        wanted,
        wanted == "mpi" ? "mpirun -n 4, or srun --mpi=pmix"
                        : "--ranks 4, torchrun, mpirun or srun");
  }
}

}  // namespace

std::unique_ptr<Communicator> join_world(const WorldOptions& options) {
  const std::string& wanted = options.transport;
  if (wanted == "none") return nullptr;
  const Launched found = launched();
  expect_transport(wanted, found);
  if (found.ranks == 1) return nullptr;
  expect_rank_count(found.ranks);
  if (wanted != "auto" && wanted != "nccl" && wanted != found.transport) {
    throw usage_error("{} started {} ranks, which speak through '{}' and not through '{}'",
                      found.by, found.ranks, found.transport, wanted);
  }
  if (!(options.rank_timeout > 0)) {
    throw usage_error("the time-out of ranks is {} s; it must be more than 0",
                      options.rank_timeout);
  }
  const bool by_nccl = wanted == "nccl" || found.transport == "nccl";
  std::unique_ptr<Communicator> ranks =
      by_nccl ? join_by_nccl(found, options) : join_by_host(found, options);
  share_processors(*ranks);
  return ranks;
}

std::vector<TransportInfo> transports() {
  const std::string no_mpi = why_no_mpi(), no_nccl = why_no_nccl();
  return {
      {"local", "ranks on one machine, through memory", true, ""},
      {"mpi", "ranks that mpirun or srun starts", no_mpi.empty(), no_mpi},
      {"nccl", "ranks with a GPU each: torchrun's, or --transport nccl", no_nccl.empty(), no_nccl}};
}

}  // namespace tapescope
