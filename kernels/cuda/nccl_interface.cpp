// Whether kernels/collectives/nccl_library.h declares what NCCL's header does, where there is one.
#if __has_include(<nccl.h>)
#include <nccl.h>

#include <type_traits>

#include "kernels/collectives/nccl_library.h"

namespace tapescope::nccl {
namespace {

// Enumerations are passed as int, handles as pointers.
template <class T>
constexpr auto passed() {
  if constexpr (std::is_enum_v<T>) {
    return int();
  } else if constexpr (std::is_same_v<T, ncclUniqueId>) {
    return UniqueId();
  } else if constexpr (std::is_same_v<T, ncclComm_t> || std::is_same_v<T, cudaStream_t>) {
    return static_cast<void*>(nullptr);
  } else if constexpr (std::is_same_v<T, ncclComm_t*>) {
    return static_cast<Comm*>(nullptr);
  } else if constexpr (std::is_same_v<T, ncclResult_t*>) {
    return static_cast<int*>(nullptr);
  } else if constexpr (std::is_same_v<T, ncclUniqueId*>) {
    return static_cast<UniqueId*>(nullptr);
  } else {
    return T();
  }
}
template <class R, class... A>
auto declared(R (*)(A...)) -> decltype(passed<R>()) (*)(decltype(passed<A>())...);

#define TAPESCOPE_ALIKE(member, function) \
  static_assert(std::is_same_v<decltype(Library::member), decltype(declared(&function))>)
TAPESCOPE_ALIKE(get_version, ncclGetVersion);
TAPESCOPE_ALIKE(get_unique_id, ncclGetUniqueId);
TAPESCOPE_ALIKE(init_rank, ncclCommInitRank);
TAPESCOPE_ALIKE(all_gather, ncclAllGather);
TAPESCOPE_ALIKE(all_reduce, ncclAllReduce);
TAPESCOPE_ALIKE(broadcast, ncclBroadcast);
TAPESCOPE_ALIKE(send, ncclSend);
TAPESCOPE_ALIKE(receive, ncclRecv);
TAPESCOPE_ALIKE(group_start, ncclGroupStart);
TAPESCOPE_ALIKE(group_end, ncclGroupEnd);
TAPESCOPE_ALIKE(destroy, ncclCommDestroy);
TAPESCOPE_ALIKE(abort, ncclCommAbort);
TAPESCOPE_ALIKE(async_error, ncclCommGetAsyncError);
TAPESCOPE_ALIKE(error_string, ncclGetErrorString);
TAPESCOPE_ALIKE(last_error, ncclGetLastError);
#undef TAPESCOPE_ALIKE

static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId) && sizeof(ncclResult_t) == sizeof(int));
static_assert(kSuccess == ncclSuccess && kInvalidUsage == ncclInvalidUsage);
static_assert(kInProgress == ncclInProgress);
static_assert(kUint8 == ncclUint8 && kFloat32 == ncclFloat32);
static_assert(kSum == ncclSum);

}  // namespace
}  // namespace tapescope::nccl
#endif
