// NCCL, opened when first needed: the functions of its C interface that are used. They are declared
// here, so that no build needs NCCL's headers; kernels/cuda/nccl_interface.cpp compares with
// nccl.h.
#pragma once

#include <cstddef>
#include <string>

namespace tapescope::nccl {

struct UniqueId {
  char bytes[128];
};
using Comm = void*;  // ncclComm_t; streams are cudaStream_t, which Queue::native() is
constexpr int kSuccess = 0, kInvalidUsage = 5, kInProgress = 7;  // ncclResult_t
constexpr int kUint8 = 1, kFloat32 = 7;                          // ncclDataType_t
constexpr int kSum = 0;                                          // ncclRedOp_t

struct Library {
  int (*get_version)(int*) = nullptr;
  int (*get_unique_id)(UniqueId*) = nullptr;
  int (*init_rank)(Comm*, int ranks, UniqueId id, int rank) = nullptr;
  int (*all_gather)(const void* in, void* out, std::size_t count, int dtype, Comm,
                    void* stream) = nullptr;
  int (*all_reduce)(const void* in, void* out, std::size_t count, int dtype, int op, Comm,
                    void* stream) = nullptr;
  int (*broadcast)(const void* in, void* out, std::size_t count, int dtype, int root, Comm,
                   void* stream) = nullptr;
  int (*send)(const void* data, std::size_t count, int dtype, int to, Comm, void* stream) = nullptr;
  int (*receive)(void* data, std::size_t count, int dtype, int from, Comm, void* stream) = nullptr;
  int (*group_start)() = nullptr;  // what follows is under way at once, from the end on
  int (*group_end)() = nullptr;
  int (*destroy)(Comm) = nullptr;
  int (*abort)(Comm) = nullptr;
  int (*async_error)(Comm, int* status) = nullptr;  // of what is under way
  const char* (*error_string)(int) = nullptr;
  const char* (*last_error)(Comm) = nullptr;  // of any communicator where null
  int version = 0;                            // 22809 is 2.28.9
  std::string why_missing;

  // Throws a failure naming `what`, the status and NCCL's last words.
  void check(int status, const char* what) const;
};

// Looked for as kernels/common/dynamic_library.h says.
Library open_library(const char* name);
const Library& library();  // libnccl.so.2

}  // namespace tapescope::nccl
