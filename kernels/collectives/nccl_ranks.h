// Ranks with a GPU each, which speak through NCCL.
#pragma once

#include <memory>
#include <string>

#include "engine/device.h"
#include "kernels/collectives/communicator.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/nccl_library.h"

namespace tapescope {

// Empty, or why ranks cannot speak through NCCL here. Opens the GPU and the library.
std::string why_no_nccl();

// Leaves this process the one GPU of its machine that is its own, by CUDA_VISIBLE_DEVICES: before
// anything opens CUDA. A list of one is taken as it is: who started the ranks has bound them.
// Throws a usage error where the list is shorter than the machine's ranks.
void take_own_gpu(const Launched& launched);

struct NcclOptions {
  int rank = 0, ranks = 1;
  bool fast_all_reduce = false;
  double rank_timeout = 300;  // seconds that a rank may keep others waiting, on their GPUs too
  Device device = Device::cuda();
};

// Joins the ranks. `host` carries what they say of host data; without it that goes through NCCL
// too, in pieces, and they find each other at NCCL_COMM_ID, or else MASTER_ADDR and MASTER_PORT.
// Returns when all are there; `nccl` outlives what it returns. Throws a usage error where nothing
// says where to meet, or two ranks have one GPU; a failure with NCCL's words else.
std::unique_ptr<Communicator> join_nccl(const nccl::Library& nccl,
                                        std::unique_ptr<Communicator> host,
                                        const NcclOptions& options);

}  // namespace tapescope
