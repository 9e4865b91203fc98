// Tensor cores and asynchronous copies: the PTX behind functions, each with a twin in
// kernels/emulator/tensor_core.h. All lanes of a warp call mma and ldmatrix together.
//
//   mma_m16n8k16_bf16(d, a, b)  d (16 x 8, f32) += a (16 x 16, bf16, row-major) * b (16 x 8, bf16,
//                               column-major), each spread over the warp as PTX's fragments
//   mma_m16n8k8_tf32(d, a, b)   the same for 16 x 8 and 8 x 8 of tf32, made by to_tf32
//   ldmatrix_x4<transposed>     four 8 x 8 matrices of 16-bit elements from shared memory: lane
//                               8 m + r gives the address of row r of matrix m (16 bytes); register
//                               m of lane l gets row l / 4, columns 2 (l % 4) and the next, of the
//                               matrix or of its transpose
//   cp_async_16(to, from)       16 bytes from global to shared memory, past the registers
//   cp_async_16_or_zero(to, from, there)   the same, or 16 zeros where nothing is there to be read
//   cp_async_commit()           closes a group of the copies asked for since the last
//   cp_async_wait<n>()          until all but the last n groups of this thread have arrived; other
//                               threads see them after a barrier
#pragma once

#include "kernels/common/gpu.h"

#if defined(__CUDACC__)

namespace tapescope::cuda {

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

template <bool transposed>
__device__ __forceinline__ void ldmatrix_x4(unsigned (&to)[4], const void* row) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
}

__device__ __forceinline__ void cp_async_16(void* to, const void* from) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
__device__ __forceinline__ void cp_async_16_or_zero(void* to, const void* from, bool there) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace tapescope::cuda

#else
#include "kernels/emulator/tensor_core.h"

namespace tapescope::emulated {

inline void cp_async_16_or_zero(void* to, const void* from, bool there) {
  alignas(16) static constexpr unsigned char kZero[16] = {};
  cp_async_16(to, there ? from : kZero);
}

}  // namespace tapescope::emulated
#endif
