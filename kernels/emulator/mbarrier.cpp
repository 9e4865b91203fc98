#include "kernels/emulator/mbarrier.h"

#include <algorithm>

#include "engine/error.h"

namespace tapescope::emulator {
namespace {

// The 64 bits. A phase is over when no arrival and no byte is outstanding; the next has the same
// arrivals to wait for.
struct State {
  unsigned phase, arrivals, left, bytes;
};
constexpr std::uint64_t kMark = 0xB;  // in the upper four bits

State decode(std::uint64_t bits) {
  return {static_cast<unsigned>(bits & 0xffff), static_cast<unsigned>(bits >> 16 & 0xfff),
          static_cast<unsigned>(bits >> 28 & 0xfff), static_cast<unsigned>(bits >> 40 & 0xfffff)};
}
std::uint64_t encode(const State& s) {
  return (s.phase & 0xffffu) | std::uint64_t{s.arrivals} << 16 | std::uint64_t{s.left} << 28 |
         std::uint64_t{s.bytes} << 40 | kMark << 60;
}

State load(const Thread& self, std::uint64_t* barrier) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0 || !self.block->is_shared(barrier)) {
    self.block->fault(self, "an mbarrier is 8 bytes of shared memory, aligned to 8");
  }
  const std::uint64_t bits = std::atomic_ref(*barrier).load(std::memory_order_acquire);
  if (bits >> 60 != kMark) {
    self.block->fault(self, fmt::format("uses the mbarrier at shared address {:#x}, which was not "
                                        "initialised, or was written over",
                                        self.block->shared_address(barrier)));
  }
  return decode(bits);
}

template <class F>
void update(const Thread& self, std::uint64_t* barrier, F&& change) {
  load(self, barrier);
  std::atomic_ref target(*barrier);
  std::uint64_t before = target.load(std::memory_order_relaxed);
  for (;;) {
    State s = decode(before);
    change(s);
    if (s.left == 0 && s.bytes == 0) {
      ++s.phase;
      s.left = s.arrivals;
    }
    if (target.compare_exchange_weak(before, encode(s), std::memory_order_acq_rel)) return;
  }
}

struct Waiting {
  const Thread* self;
  std::uint64_t* barrier;
  unsigned parity;
};

}  // namespace

void mbarrier_init(Thread& self, std::uint64_t* barrier, unsigned arrivals) {
  if (arrivals == 0 || arrivals > 0xfff) {
    self.block->fault(self, fmt::format("initialises an mbarrier for {} arrivals; the emulator "
                                        "counts 1 to 4095",
                                        arrivals));
  }
  std::atomic_ref(*barrier).store(encode({0, arrivals, arrivals, 0}), std::memory_order_release);
}

void mbarrier_arrive(Thread& self, std::uint64_t* barrier, unsigned bytes) {
  update(self, barrier, [&](State& s) {
    if (s.left == 0) {
      self.block->fault(self,
                        fmt::format("arrives at the mbarrier at shared address {:#x} once more "
                                    "than the {} times it was initialised for",
                                    self.block->shared_address(barrier), s.arrivals));
    }
    --s.left;
    s.bytes += bytes;
    if (s.bytes > 0xfffff) {
      self.block->fault(self, "an mbarrier's phase expects at most 2^20 - 1 bytes");
    }
  });
}

void mbarrier_complete(const Thread& asker, std::uint64_t* barrier, unsigned bytes) {
  update(asker, barrier, [&](State& s) {
    if (bytes > s.bytes) {
      asker.block->fault(
          asker, fmt::format("a copy of {} bytes that it asked for has landed, but the mbarrier at "
                             "shared address {:#x} expects {} more in this phase",
                             bytes, asker.block->shared_address(barrier), s.bytes));
    }
    s.bytes -= bytes;
  });
}

void mbarrier_wait(Thread& self, Site site, std::uint64_t* barrier, unsigned parity) {
  load(self, barrier);
  // Parities tell neighbouring phases apart, no more: a thread sees one after the other.
  auto seen = std::find_if(self.phases.begin(), self.phases.end(),
                           [&](const Thread::SeenPhase& s) { return s.barrier == barrier; });
  if (seen != self.phases.end() && (seen->phase & 1u) == (parity & 1u)) {
    self.block->fault(
        self, fmt::format("waits in {} at line {} for parity {} of the mbarrier at shared address "
                          "{:#x} twice running: the parity is wrong",
                          site.what, site.line, parity, self.block->shared_address(barrier)));
  }
  Waiting waiting{&self, barrier, parity & 1u};
  self.block->wait(self, site,
                   {[](void* data) {
                      const auto& w = *static_cast<Waiting*>(data);
                      return (load(*w.self, w.barrier).phase & 1u) != w.parity;
                    },
                    [](void* data) {
                      const auto& w = *static_cast<Waiting*>(data);
                      const State s = load(*w.self, w.barrier);
                      return fmt::format(
                          "phase {} of the mbarrier at shared address {:#x} wants {} of {} "
                          "arrivals and {} bytes",
                          s.phase, w.self->block->shared_address(w.barrier), s.left, s.arrivals,
                          s.bytes);
                    },
                    &waiting});
  // Which phase that was: the last that is over, as parities go.
  const unsigned over = (load(self, barrier).phase - 1) & 0xffffu;
  if (seen == self.phases.end()) {
    self.phases.push_back({barrier, over});
    return;
  }
  if (over != ((seen->phase + 1) & 0xffffu)) {
    self.block->fault(self, fmt::format("is two phases or more behind the mbarrier at shared "
                                        "address {:#x}, of which parities tell one",
                                        self.block->shared_address(barrier)));
  }
  seen->phase = over;
}

}  // namespace tapescope::emulator
