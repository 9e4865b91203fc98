// mbarriers, copies by tensor map and wgmma for the emulator: the bodies of
// kernels/common/hopper.h.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "kernels/emulator/async.h"
#include "kernels/emulator/cuda.h"
#include "kernels/emulator/mbarrier.h"

namespace tapescope::emulated {

using TensorMap = emulator::TensorView;

// --- mbarriers ---
struct Mbarrier {
  std::uint64_t bits;
};
inline void mbarrier_init(Mbarrier* barrier, unsigned arrivals) {
  emulator::mbarrier_init(*emulator::current, &barrier->bits, arrivals);
}
inline void fence_proxy_async() { emulator::current->block->async().publish(); }
inline void publish_barriers() { fence_proxy_async(); }
inline void mbarrier_arrive(Mbarrier* barrier) {
  emulator::mbarrier_arrive(*emulator::current, &barrier->bits, 0);
}
inline void mbarrier_arrive_expect(Mbarrier* barrier, unsigned bytes) {
  emulator::mbarrier_arrive(*emulator::current, &barrier->bits, bytes);
}
inline void mbarrier_wait(Mbarrier* barrier, unsigned parity,
                          std::source_location at = std::source_location::current()) {
  emulator::mbarrier_wait(*emulator::current, {"mbarrier_wait", at}, &barrier->bits, parity);
}

// --- copies ---
inline void ask_for_copy(void* to, const TensorMap& map, Mbarrier* barrier,
                         std::initializer_list<int> at, int offset_w = 0, int offset_h = 0) {
  emulator::Thread& self = *emulator::current;
  emulator::BulkCopy copy;
  copy.view = map;
  std::copy(at.begin(), at.end(), copy.at);
  copy.offset_w = offset_w, copy.offset_h = offset_h;
  copy.to = static_cast<unsigned char*>(to);
  copy.barrier = &barrier->bits;
  copy.thread = self.number;
  const bool known = static_cast<int>(at.size()) == map.rank;
  if (!known)
    self.block->fault(self,
                      "asks for a copy with another number of coordinates than the map's rank");
  self.block->async().copy(self, copy);
}
inline void copy_tile(void* to, const TensorMap& map, Mbarrier* barrier, int x, int y) {
  ask_for_copy(to, map, barrier, {x, y});
}
inline void copy_tile(void* to, const TensorMap& map, Mbarrier* barrier, int x, int y, int z) {
  ask_for_copy(to, map, barrier, {x, y, z});
}
inline void copy_pixels(void* to, const TensorMap& map, Mbarrier* barrier, int c, int w, int h,
                        int n, int offset_w, int offset_h) {
  ask_for_copy(to, map, barrier, {c, w, h, n}, offset_w, offset_h);
}

// --- warpgroups ---
inline unsigned shared_address(const void* pointer) {
  return emulator::current->block->shared_address(pointer);
}
inline void wgmma_fence(std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  self.block->async().fence(self, {"wgmma_fence", at});
}
inline void wgmma_commit(std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  self.block->async().commit(self, {"wgmma_commit", at});
}
template <int pending>
void wgmma_wait(std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  self.block->async().wait(self, {"wgmma_wait", at}, pending);
}
template <int columns, bool transposed_a, bool transposed_b>
void wgmma_bf16(float (&d)[columns / 2], std::uint64_t a, std::uint64_t b, bool accumulate,
                std::source_location at = std::source_location::current()) {
  emulator::Thread& self = *emulator::current;
  self.block->async().multiply(self, {"wgmma_bf16", at},
                               {a, b, transposed_a, transposed_b, accumulate, columns, d});
}
template <int n>
void keep_in_registers(float (&)[n]) {}
template <int registers>
void claim_registers() {}
template <int registers>
void release_registers() {}

inline unsigned pack_bf16(float low, float high) {
  return unsigned{bf16(low).bits} | unsigned{bf16(high).bits} << 16;
}

}  // namespace tapescope::emulated
