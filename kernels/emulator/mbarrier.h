// mbarriers: 8 bytes in shared memory that count arrivals and bytes, phase after phase.
#pragma once

#include "kernels/emulator/block.h"

namespace tapescope::emulator {

constexpr std::uint64_t kNoBarrier = ~std::uint64_t{0};  // what shared memory holds at first

void mbarrier_init(Thread& self, std::uint64_t* barrier, unsigned arrivals);
// One arrival; before it the phase is told to expect `bytes` more.
void mbarrier_arrive(Thread& self, std::uint64_t* barrier, unsigned bytes);
// A copy has brought so many.
void mbarrier_complete(const Thread& asker, std::uint64_t* barrier, unsigned bytes);
// Until the phase of this parity is over (of the one that runs, or of the one before it).
void mbarrier_wait(Thread& self, Site site, std::uint64_t* barrier, unsigned parity);

}  // namespace tapescope::emulator
