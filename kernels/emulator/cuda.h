// What a .cu file needs of CUDA, for the ordinary compiler. Included through kernels/common/gpu.h.
//
// Names are CUDA's; all of them live in namespace tapescope::emulated, beside the kernels.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "kernels/emulator/block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::tapescope::emulator::current->index)
#define blockIdx (::tapescope::emulator::current->block->index())
#define blockDim (::tapescope::emulator::current->block->grid().threads)
#define gridDim (::tapescope::emulator::current->block->grid().blocks)

namespace tapescope::emulated {

using emulator::dim3;
using emulator::uint3;

// --- vectors: aligned as CUDA's ---
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};

// --- arithmetic ---
using std::erf;
using std::exp;
using std::expm1;
using std::fabs;
using std::floor;
using std::fma;
using std::isfinite;
using std::isnan;
using std::log;
using std::log1p;
using std::pow;
using std::sqrt;
using std::tanh;
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }

// --- atomics ---
template <class T, class F>
T atomic_update(T* address, F&& f) {
  std::atomic_ref<T> target(*address);
  T old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, f(old), std::memory_order_relaxed)) {
  }
  return old;
}
template <class T>
T atomicAdd(T* address, T value) {
  return atomic_update(address, [=](T old) { return old + value; });
}

// --- barriers and warp collectives ---
inline void __syncthreads(std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  self.block->barrier(self, {"__syncthreads", at});
}

// One lane's part in a shuffle: what it gives, from which lane it takes, and what it gets.
template <class T>
struct Shuffled {
  T value;
  unsigned from;
  T result;
  bool missing;  // `from` is not among those who take part
};
template <class T>
T shuffle(const char* what, unsigned mask, T value, unsigned from, std::source_location at) {
  emulator::Thread& self = *emulator::current;
  Shuffled<T> part{value, from, value, false};
  self.block->collective(self, {what, at}, mask, &part, [](void* const* lanes, unsigned present) {
    for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
      if ((present >> lane & 1u) == 0) continue;
      auto& taker = *static_cast<Shuffled<T>*>(lanes[lane]);
      if ((present >> taker.from & 1u) == 0) {
        taker.missing = true;
      } else {
        taker.result = static_cast<const Shuffled<T>*>(lanes[taker.from])->value;
      }
    }
  });
  if (part.missing) {
    self.block->fault(self, std::string(what) + " reads lane " + std::to_string(from) +
                                ", which does not take part in it");
  }
  return part.result;
}

// As CUDA documents them: a segment of `width` lanes; a lane outside it gives one's own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location at = std::source_location::current()) {
  const unsigned lane = emulator::current->lane(),
                 segment = lane & ~static_cast<unsigned>(width - 1);
  return shuffle("__shfl_sync", mask, value,
                 segment | (static_cast<unsigned>(source) & static_cast<unsigned>(width - 1)), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location at = std::source_location::current()) {
  const unsigned lane = emulator::current->lane(),
                 segment = lane & ~static_cast<unsigned>(width - 1);
  return shuffle("__shfl_up_sync", mask, value, lane < segment + delta ? lane : lane - delta, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location at = std::source_location::current()) {
  const unsigned lane = emulator::current->lane(),
                 segment = lane & ~static_cast<unsigned>(width - 1);
  const unsigned from = lane + delta;
  return shuffle("__shfl_down_sync", mask, value,
                 from >= segment + static_cast<unsigned>(width) ? lane : from, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  std::source_location at = std::source_location::current()) {
  const unsigned lane = emulator::current->lane(),
                 segment = lane & ~static_cast<unsigned>(width - 1);
  const unsigned from = lane ^ static_cast<unsigned>(lanes);
  return shuffle("__shfl_xor_sync", mask, value,
                 from >= segment + static_cast<unsigned>(width) ? lane : from, at);
}

// One lane's part in a vote or a reduction: all of them are folded with F, and all get the result.
template <class T, class F>
T fold(const char* what, unsigned mask, T value, std::source_location at) {
  emulator::Thread& self = *emulator::current;
  self.block->collective(self, {what, at}, mask, &value, [](void* const* lanes, unsigned present) {
    bool first = true;
    T total{};
    for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
      if ((present >> lane & 1u) == 0) continue;
      const T one = *static_cast<const T*>(lanes[lane]);
      total = first ? one : F()(total, one);
      first = false;
    }
    for (unsigned lane = 0; lane < emulator::kWarpSize; ++lane) {
      if (present >> lane & 1u) *static_cast<T*>(lanes[lane]) = total;
    }
  });
  return value;
}
struct BitOr {
  unsigned operator()(unsigned a, unsigned b) const { return a | b; }
};
struct BitAnd {
  unsigned operator()(unsigned a, unsigned b) const { return a & b; }
};
struct Plus {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Greatest {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
inline unsigned __ballot_sync(unsigned mask, bool vote,
                              std::source_location at = std::source_location::current()) {
  const unsigned mine = vote ? 1u << emulator::current->lane() : 0u;
  return fold<unsigned, BitOr>("__ballot_sync", mask, mine, at);
}
inline bool __any_sync(unsigned mask, bool vote,
                       std::source_location at = std::source_location::current()) {
  return fold<unsigned, BitOr>("__any_sync", mask, vote ? 1u : 0u, at) != 0;
}
inline bool __all_sync(unsigned mask, bool vote,
                       std::source_location at = std::source_location::current()) {
  return fold<unsigned, BitAnd>("__all_sync", mask, vote ? 1u : 0u, at) != 0;
}
template <class T>
T __reduce_add_sync(unsigned mask, T value,
                    std::source_location at = std::source_location::current()) {
  return fold<T, Plus>("__reduce_add_sync", mask, value, at);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value,
                    std::source_location at = std::source_location::current()) {
  return fold<T, Greatest>("__reduce_max_sync", mask, value, at);
}

}  // namespace tapescope::emulated
