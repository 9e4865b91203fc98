#include "kernels/collectives/launched.h"

#include <climits>
#include <cstdlib>
#include <optional>

#include "engine/environment.h"
#include "engine/error.h"

namespace tapescope {
namespace {

std::optional<int> number(const char* name) {
  const auto value = number_from_environment(name, 0, INT_MAX);
  return value ? std::optional<int>(static_cast<int>(*value)) : std::nullopt;
}

// One launcher's variables.
struct Convention {
  const char *by, *rank, *ranks, *rank_of_machine, *transport;
};

constexpr Convention kConventions[] = {
    {"tapescope --ranks", "TAPESCOPE_RANK", "TAPESCOPE_RANKS", "TAPESCOPE_RANK", "local"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "mpi"},
    {"MPI (PMI)", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "mpi"},
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "mpi"},
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "nccl"}};

// Whether srun started this process. The script of sbatch and the shell of salloc are steps too,
// with numbers from the end (batch, extern, interactive), or none.
bool in_step_of_slurm() {
  constexpr std::uint64_t kFirstSpecial = 0xfffffff0;
  const char* const id = std::getenv("SLURM_STEP_ID");
  if (id == nullptr || *id == 0) return false;
  return std::strtoull(id, nullptr, 10) < kFirstSpecial;
}

}  // namespace

Launched launched() {
  for (const Convention& names : kConventions) {
    const bool slurm = std::string(names.by) == "Slurm";
    if (slurm && !in_step_of_slurm()) continue;
    const std::optional<int> rank = number(names.rank);
    std::optional<int> ranks = number(names.ranks);
    if (slurm && !ranks) ranks = number("SLURM_NTASKS");
    if (!rank || !ranks) continue;
    if (*rank >= *ranks) {
      throw usage_error("{} is {} and {} is {}; ranks are 0 to one less than their number",
                        names.rank, *rank, names.ranks, *ranks);
    }
    Launched found{names.by, names.transport, *rank, *ranks};
    found.rank_of_machine = number(names.rank_of_machine).value_or(-1);
    if (found.transport == "local") {
      found.descriptor = number("TAPESCOPE_WORLD_FD").value_or(-1);
    }
    return found;
  }
  return {};
}

}  // namespace tapescope
