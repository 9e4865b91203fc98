#include "kernels/collectives/nccl_library.h"

#include <type_traits>

#include "engine/error.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::nccl {

void Library::check(int status, const char* what) const {
  if (status == kSuccess) return;
  throw failure(
      "[nccl] {} failed: {} ({}); NCCL_DEBUG=INFO in the environment tells which connection or "
      "device it was",
      what, error_string(status), last_error(nullptr));
}

Library open_library(const char* name) {
  Library nccl;
  cuda::DynamicLibrary opened({name});
  const auto load = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(opened.symbol(symbol));
  };
  load(nccl.get_version, "ncclGetVersion");
  load(nccl.get_unique_id, "ncclGetUniqueId");
  load(nccl.init_rank, "ncclCommInitRank");
  load(nccl.all_gather, "ncclAllGather");
  load(nccl.all_reduce, "ncclAllReduce");
  load(nccl.broadcast, "ncclBroadcast");
  load(nccl.send, "ncclSend");
  load(nccl.receive, "ncclRecv");
  load(nccl.group_start, "ncclGroupStart");
  load(nccl.group_end, "ncclGroupEnd");
  load(nccl.destroy, "ncclCommDestroy");
  load(nccl.abort, "ncclCommAbort");
  load(nccl.async_error, "ncclCommGetAsyncError");
  load(nccl.error_string, "ncclGetErrorString");
  load(nccl.last_error, "ncclGetLastError");  // since 2.13; captured in graphs since 2.9.6
  nccl.why_missing = opened.why_missing();
  if (nccl.why_missing.empty() && nccl.get_version(&nccl.version) != kSuccess) {
    nccl.why_missing = "ncclGetVersion failed; is the driver as new as the library?";
  }
  return nccl;
}

const Library& library() {
  static const Library opened = open_library("libnccl.so.2");
  return opened;
}

}  // namespace tapescope::nccl
