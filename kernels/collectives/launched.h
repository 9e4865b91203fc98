// What started this process says of it: environment variables.
#pragma once

#include <string>

namespace tapescope {

struct Launched {
  std::string by;         // "tapescope --ranks", "Open MPI" ...; empty: nobody says anything
  std::string transport;  // that its ranks speak through
  int rank = 0, ranks = 1;
  int rank_of_machine = -1;  // among those of its machine; below 0: unknown
  int descriptor = -1;       // of transport "local": what the ranks share
};

// The variables of our own launcher (TAPESCOPE_RANK, TAPESCOPE_RANKS, TAPESCOPE_WORLD_FD), of Open
// MPI (OMPI_COMM_WORLD_*), of MPICH and its kin (PMI_*), of a step of Slurm (SLURM_*) and of
// torchrun (RANK, WORLD_SIZE): the first that is there. An allocation of Slurm is no step: one
// process that runs in it is one process, whatever number of tasks was asked for. Throws a usage
// error where a variable is no number, or no rank.
Launched launched();

}  // namespace tapescope
