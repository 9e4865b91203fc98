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

}  // namespace tapescope::TAPESCOPE_GPU
