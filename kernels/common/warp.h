// Reductions over a warp and over a block. The order of additions is fixed by the number of
// threads: the same bits at every run.
#pragma once

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {

struct Sum {
  template <class T>
  __device__ static T apply(T a, T b) {
    return a + b;
  }
  template <class T>
  __device__ static T identity() {
    return T(0);
  }
};
struct Max {  // a NaN wins
  template <class T>
  __device__ static T apply(T a, T b) {
    return (a > b) | (a != a) ? a : b;
  }
  template <class T>
  __device__ static T identity() {
    return -__builtin_huge_valf();
  }
};

// All lanes of the warp get the result; all must call it.
template <class Op, class T>
__device__ T warp_reduce(T value) {
  TAPESCOPE_UNROLL
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    value = Op::apply(value, __shfl_xor_sync(kFullMask, value, lanes));
  }
  return value;
}

// All threads of a one-dimensional block of whole warps get the result; all must call it. `scratch`
// is shared memory for 32 values, free to use again after the call.
template <class Op, class T>
__device__ T block_reduce(T value, T* scratch) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const unsigned warps = blockDim.x / kWarp;
  value = warp_reduce<Op>(value);
  if (warps == 1) return value;
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_reduce<Op>(lane < warps ? scratch[lane] : Op::template identity<T>());
  __syncthreads();
  return value;
}

}  // namespace tapescope::TAPESCOPE_GPU
