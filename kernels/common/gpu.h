// What every .cu file includes: CUDA's execution model, from nvcc or from the emulator, and the one
// way to launch a kernel. A .cu file is compiled twice. Everything in it lives in namespace
// tapescope::TAPESCOPE_GPU, which is `cuda` under nvcc and `emulated` otherwise.
//
//   TAPESCOPE_SHARED(float, tile, [32][33]);    in place of  __shared__ float tile[32][33];
//   TAPESCOPE_DYNAMIC_SHARED(float, scratch);   in place of  extern __shared__ float scratch[];
//   TAPESCOPE_UNROLL for (...)                  in place of  #pragma unroll
//   launch<kernel<float>>(queue, grid, block, shared_bytes, arguments...);
#pragma once

#include <cstdint>

#include "engine/error.h"
#include "kernels/common/variant.h"

#if defined(__CUDACC__)

#include <cuda_runtime.h>
#define TAPESCOPE_GPU cuda
#define TAPESCOPE_UNROLL _Pragma("unroll")
#define TAPESCOPE_SHARED(T, name, extents) __shared__ __align__(16) T name extents
#define TAPESCOPE_DYNAMIC_SHARED(T, name)                                 \
  extern __shared__ __align__(16) unsigned char tapescope_shared_bytes[]; \
  T* const name = reinterpret_cast<T*>(tapescope_shared_bytes)

#else

#include "kernels/emulator/cuda.h"
#define TAPESCOPE_GPU emulated
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAPESCOPE_UNROLL  // sanitizers check every access: unrolled, a file takes minutes to
                          // compile
#else
#define TAPESCOPE_UNROLL _Pragma("GCC unroll 16")
#endif
// The static variable is one per declaration (and instance of a template): the array's key.
#define TAPESCOPE_SHARED(T, name, extents)                                               \
  static char name##_key;                                                                \
  using name##_type = T extents;                                                         \
  auto& name = *static_cast<name##_type*>(::tapescope::emulator::current->block->shared( \
      &name##_key, sizeof(name##_type), alignof(name##_type), #name))
#define TAPESCOPE_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::tapescope::emulator::current->block->dynamic_shared(alignof(T)))

#endif

namespace tapescope::TAPESCOPE_GPU {

constexpr unsigned kWarp = 32;
constexpr unsigned kFullMask = 0xffffffffu;
#if defined(__CUDACC__)
constexpr DeviceKind kDevice = DeviceKind::cuda;
constexpr std::size_t kMaxSharedBytes = 99 << 10;  // every GPU since sm_80 offers it
#else
constexpr DeviceKind kDevice = DeviceKind::emulated;
using emulator::kMaxSharedBytes;
#endif

#if defined(__CUDACC__)  // CUDA's are overloads of a few types
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
#endif

template <class T>
constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// Blocks for n threads in blocks of `threads`. Kernels that use it loop with a stride of the whole
// grid where n may pass the largest one.
inline dim3 blocks_for(std::int64_t n, unsigned threads) {
  const std::int64_t blocks = ceil_div<std::int64_t>(n, threads);
  return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks > 0x7fffffff ? 0x7fffffff : blocks));
}

// Whether a pointer may be read in vectors of `bytes`.
inline bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

// "void launch(...) [with auto kernel = tapescope::emulated::{anonymous}::tiled<float>; ...]" to
// "tiled<float>".
constexpr std::string_view kernel_name(std::string_view pretty) {
  std::size_t begin = pretty.find("kernel = ");
  if (begin == std::string_view::npos) return pretty;
  begin += 9;
  std::string_view name = pretty.substr(begin, pretty.find_first_of(";]", begin) - begin);
  // The function's own name is what follows the last :: before its template arguments.
  const std::size_t arguments = name.find('<');
  const std::size_t colons = name.substr(0, arguments).rfind("::");
  return colons == std::string_view::npos ? name : name.substr(colons + 2);
}

#if !defined(__CUDACC__)
// Now, or whenever the recording under way is run.
template <class F>
void run_or_record(const F& launch) {
  if (RecordedCalls* recorded = emulated_recording()) return recorded->push_back(launch);
  launch();
}
#endif

// Runs a kernel on the queue. Throws a failure that names it where it cannot be launched.
template <auto kernel, class... Args>
void launch([[maybe_unused]] const Queue& queue, dim3 grid, dim3 block, std::size_t shared_bytes,
            Args... args) {
  constexpr std::string_view name = kernel_name(__PRETTY_FUNCTION__);
#if defined(__CUDACC__)
  if (shared_bytes > (48 << 10)) {  // more than the default has to be asked for
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
  }
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(queue.native())>>>(args...);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw failure("[{}] cannot be launched: {}", name, cudaGetErrorString(error));
  }
#else
  run_or_record([=] {
    emulator::run({name, grid, block, shared_bytes, [&] { kernel(args...); }});
  });
#endif
}

}  // namespace tapescope::TAPESCOPE_GPU
