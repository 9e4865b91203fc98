// Several neighbouring elements moved by one instruction.
#pragma once

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {

// n elements of T as one aligned whole: up to 16 bytes are one load or store of a thread, the most
// a GPU has.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  static_assert(sizeof(T) * n <= 16 && (n & (n - 1)) == 0);
  T values[n];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};
// How many elements fill 16 bytes.
template <class T>
constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

// `from` and `to` are multiples of sizeof(T) * n.
template <class T, int n>
__device__ __forceinline__ Pack<T, n> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, n>*>(from);
}
template <class T, int n>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, n>& pack) {
  *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

// n floats rounded to T; two of bf16 by one instruction.
template <class T, int n>
__device__ __forceinline__ Pack<T, n> rounded(const float (&x)[n]) {
  Pack<T, n> pack;
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == 2 && n % 2 == 0) {
    TAPESCOPE_UNROLL
    for (int i = 0; i < n; i += 2) {
      unsigned pair;
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(x[i + 1]), "f"(x[i]));
      __builtin_memcpy(&pack.values[i], &pair, 4);
    }
  } else
#endif
  {
    TAPESCOPE_UNROLL
    for (int i = 0; i < n; ++i) pack[i] = static_cast<T>(x[i]);
  }
  return pack;
}
// And back.
template <class T, int n>
__device__ __forceinline__ void widened(const Pack<T, n>& pack, float (&x)[n]) {
  TAPESCOPE_UNROLL
  for (int i = 0; i < n; ++i) x[i] = static_cast<float>(pack[i]);
}

}  // namespace tapescope::TAPESCOPE_GPU
