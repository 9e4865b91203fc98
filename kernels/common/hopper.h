// What Hopper (sm_90a) has beside threads: mbarriers, copies by tensor map (TMA), multiplications
// of whole warpgroups (wgmma). The PTX behind functions, each with a twin in
// kernels/emulator/hopper.h.
//
// clang-format off
//   mbarrier_init(b, n)            n arrivals end a phase. Then publish_barriers(), then
//                                  __syncthreads()
//   mbarrier_arrive(b)             one arrival
//   mbarrier_arrive_expect(b, k)   one arrival; the phase also waits for k bytes of copies
//   mbarrier_wait(b, parity)       until the phase of this parity (0, 1, 0 ...) is over
//   copy_tile(to, map, b, x, y)    by one thread: the map's box at column x, row y to shared memory;
//                                  b counts its bytes. Also of three coordinates
//   copy_pixels(to, map, b, c, w, h, n, offset_w, offset_h)    the same of an im2col map
//   matrix_descriptor<kAlongK>(address)    of a tile in blocks of 64 x 64, see below
//   wgmma_bf16<columns, transposed_a, transposed_b>(d, a, b, accumulate)
//                                  d (64 x columns, f32) (+)= a (64 x 16) * b (16 x columns) of
//                                  bf16 in shared memory, by descriptors. Element i of thread t of
//                                  the warpgroup: row t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8,
//                                  column i / 4 * 8 + t % 4 * 2 + i % 2
//   wgmma_fence()                  before the first, and after threads have touched d
//   wgmma_commit(), wgmma_wait<n>()    close a group; until all but the last n are done: only then
//                                  is d the threads', and what a and b name free to be written
//   fence_proxy_async()            after writing shared memory that copies or wgmma will read
//   keep_in_registers(d)           keeps the compiler from moving uses of d over a wait
//   claim_registers<n>(), release_registers<n>()    a warpgroup takes or gives registers (setmaxnreg)
// clang-format on
//
// A tile is blocks of 64 x 64 elements, 8 KiB each, 64 rows of 128 bytes in TMA's 128-byte swizzle:
// rows are the outer index where k is contiguous (kAlongK), k otherwise.
//
// A kernel's body stands in `#if TAPESCOPE_HOPPER`: it is empty in code for other architectures.
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/common/tensor_map.h"

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TAPESCOPE_HOPPER 1
#else
#define TAPESCOPE_HOPPER 0
#endif

#if defined(__CUDACC__)

#include <cuda.h>

#include "kernels/common/hopper_wgmma.h"

// Dynamic shared memory in bytes, aligned to the swizzle's pattern: elsewhere descriptors would
// mean something else.
#define TAPESCOPE_SWIZZLED_SHARED(name)                                       \
  extern __shared__ __align__(1024) unsigned char tapescope_swizzled_bytes[]; \
  unsigned char* const name = tapescope_swizzled_bytes;                       \
  if (shared_address(name) % 1024 != 0) __trap()

namespace tapescope::cuda {

using TensorMap = CUtensorMap;
struct Mbarrier {
  std::uint64_t bits;
};

// --- the host's; kernels/cuda/hopper.cpp and probe.cu ---
TensorMap tensor_map(const TensorView& view);
int multiprocessors();
// Empty, or why kernels of sm_90a cannot run: "needs an sm_90 GPU".
std::string_view hopper_reason();

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void mbarrier_init(Mbarrier* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
__device__ __forceinline__ void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  fence_proxy_async();
}
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* barrier, unsigned bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
__device__ __forceinline__ void mbarrier_wait(Mbarrier* barrier, unsigned parity) {
  unsigned over;
  do {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(over)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (over == 0);
}

__device__ __forceinline__ void copy_tile(void* to, const TensorMap& map, Mbarrier* barrier, int x,
                                          int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}
__device__ __forceinline__ void copy_tile(void* to, const TensorMap& map, Mbarrier* barrier, int x,
                                          int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ __forceinline__ void copy_pixels(void* to, const TensorMap& map, Mbarrier* barrier,
                                            int c, int w, int h, int n, int offset_w,
                                            int offset_h) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(h), "r"(n),
      "h"(static_cast<std::uint16_t>(offset_w)), "h"(static_cast<std::uint16_t>(offset_h))
      : "memory");
}

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
template <int n>
__device__ __forceinline__ void keep_in_registers(float (&d)[n]) {
  TAPESCOPE_UNROLL
  for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int registers>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

// Two numbers rounded to bf16, the first in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace tapescope::cuda

#else

#include "kernels/emulator/hopper.h"

#define TAPESCOPE_SWIZZLED_SHARED(name) \
  unsigned char* const name =           \
      static_cast<unsigned char*>(::tapescope::emulator::current->block->dynamic_shared(1024))

namespace tapescope::emulated {

inline TensorMap tensor_map(const TensorView& view) {
  check(view);
  return view;
}
inline int multiprocessors() { return 3; }  // few, so that each block has several tiles
inline std::string_view hopper_reason() { return {}; }

}  // namespace tapescope::emulated

#endif

namespace tapescope::TAPESCOPE_GPU {

constexpr std::size_t kHopperSharedBytes = 227 << 10;
constexpr unsigned kWarpGroup = 128;
constexpr int kSwizzledBlock = 64 * 128;  // bytes of a block of 64 x 64

// PTX ISA, "Matrix descriptor format" of wgmma; the offsets as CUTLASS's make_gmma_desc has them.
// Rows of 128 bytes in groups of eight lie 1024 bytes apart (stride). Along k that is all, and the
// leading offset is not used (1); otherwise the next 64 of the outer index begin a block further
// on.
template <bool kAlongK>
__device__ constexpr std::uint64_t matrix_descriptor(unsigned address) {
  constexpr std::uint64_t kLeading = kAlongK ? 1 : kSwizzledBlock >> 4, kStride = 1024 >> 4;
  constexpr std::uint64_t kSwizzle128 = 1;
  return (address & 0x3ffffu) >> 4 | kLeading << 16 | kStride << 32 | kSwizzle128 << 62;
}
// What is added to it for the next 16 of k.
template <bool kAlongK>
constexpr std::uint64_t kDescriptorStep = (kAlongK ? 16 * 2 : 16 * 128) >> 4;

// launch() of a kernel that has Hopper's shared memory.
template <auto kernel, class... Args>
void launch_on_hopper([[maybe_unused]] const Queue& queue, dim3 grid, dim3 block,
                      std::size_t shared_bytes, Args... args) {
#if defined(__CUDACC__)
  launch<kernel>(queue, grid, block, shared_bytes, args...);
#else
  constexpr std::string_view name = kernel_name(__PRETTY_FUNCTION__);
  run_or_record([=] {
    emulator::run({name, grid, block, shared_bytes, [&] { kernel(args...); }, kHopperSharedBytes});
  });
#endif
}

}  // namespace tapescope::TAPESCOPE_GPU
