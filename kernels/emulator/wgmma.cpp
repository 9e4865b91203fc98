// wgmma: what a warpgroup's multiplications read by their descriptors, and when its threads have
// the sums.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "kernels/emulator/async.h"
#include "kernels/emulator/counters.h"

namespace tapescope::emulator {
namespace {

constexpr int kRows = 64, kDepth = 16;  // of one instruction

// PTX ISA, "Matrix descriptor format" of wgmma.
struct Descriptor {
  unsigned start, leading, stride, base, mode;
};
constexpr std::uint64_t kUnused = 0x3ff1c000c000c000ull;  // bits that mean nothing

struct Operand {
  Block& block;
  Async& async;
  const Thread& self;
  const char* what;  // "a" or "b" of wgmma, for reports
  Descriptor d;
  bool transposed;

  Operand(Block& block, Async& async, const Thread& self, const char* what, std::uint64_t bits,
          bool transposed)
      : block(block), async(async), self(self), what(what), transposed(transposed) {
    d.start = static_cast<unsigned>(bits & 0x3fff) << 4;
    d.leading = static_cast<unsigned>(bits >> 16 & 0x3fff) << 4;
    d.stride = static_cast<unsigned>(bits >> 32 & 0x3fff) << 4;
    d.base = static_cast<unsigned>(bits >> 49 & 7);
    d.mode = static_cast<unsigned>(bits >> 62);
    if ((bits & kUnused) != 0) wrong("has bits set that mean nothing");
    if (d.mode != 1) wrong("does not say 128-byte swizzle, the only one that the emulator knows");
    if (d.base != 0)
      wrong("has a base offset; the emulator wants patterns that begin on 1024 bytes");
    if ((d.start & 0x380u) != 0) wrong("begins inside a pattern of the swizzle");
    if (!transposed && d.leading != 16)
      wrong("of K-major rows has a leading offset, which is not used: 1");
  }
  [[noreturn]] void wrong(const char* text) const {
    block.fault(self,
                fmt::format("the descriptor of {} (start {:#x}, leading {}, stride {}, mode {}) {}",
                            what, d.start, d.leading, d.stride, d.mode, text));
  }

  // Eight neighbours of 2 bytes. K-major: k to k + 7 of row `outer`. Transposed: rows outer to
  // outer + 7 at k.
  const unsigned char* eight(int outer, int k) const {
    const auto o = static_cast<unsigned>(outer), i = static_cast<unsigned>(k);
    const unsigned offset = transposed
                                ? o / 64 * d.leading + i / 8 * d.stride + i % 8 * 128 + o % 64 * 2
                                : o / 8 * d.stride + o % 8 * 128 + i * 2;
    return async.seen(self, swizzle_128(d.start + offset), 16, what);
  }
  // to: {16, outers}
  void read(int outers, float* to) const {
    const int outer_step = transposed ? 8 : 1, k_step = transposed ? 1 : 8;
    for (int outer = 0; outer < outers; outer += outer_step) {
      for (int k = 0; k < kDepth; k += k_step) {
        std::uint16_t bits[8];
        std::memcpy(bits, eight(outer, k), 16);
        for (int i = 0; i < 8; ++i) {
          const int at = transposed ? k * outers + outer + i : (k + i) * outers + outer;
          to[at] = std::bit_cast<float>(std::uint32_t{bits[i]} << 16);
        }
      }
    }
  }
};

struct Lanes {
  std::atomic<std::uint64_t>* generation;
  std::uint64_t before;
  std::mutex* mutex;
  unsigned* arrived;
};

// Where element i of a lane lies in the sums {64, columns}: PTX ISA, "Register fragments" of wgmma.
std::size_t place_of(unsigned lane, int i, int columns) {
  const int row = static_cast<int>(lane / 32 * 16 + lane % 32 / 4) + i / 2 % 2 * 8;
  const int column = i / 4 * 8 + static_cast<int>(lane % 4) * 2 + i % 2;
  return static_cast<std::size_t>(row * columns + column);
}

}  // namespace

Async::Group& Async::group_of(const Thread& self) { return groups_[self.number / kGroupSize]; }

void Async::meet(Thread& self, Site site, void* part, FunctionRef<void(Group&)> work) {
  Group& group = group_of(self);
  Meeting& m = group.meeting;
  std::unique_lock<std::mutex> lock(m.mutex, std::defer_lock);
  if (block_.concurrent()) lock.lock();
  if (block_.all_threads().size() % kGroupSize != 0) {
    block_.fault(self,
                 fmt::format("calls {} in a block of {} threads, which are not warpgroups of 128",
                             site.what, block_.all_threads().size()));
  }
  if (m.arrived == 0) {
    m.site = site;
  } else if (m.site != site) {
    block_.fault(self,
                 fmt::format("calls {} at line {} while others of its warpgroup wait in {} at "
                             "line {}",
                             site.what, site.line, m.site.what, m.site.line));
  }
  m.parts[self.number % kGroupSize] = part;
  if (++m.arrived == kGroupSize) {
    work(group);
    m.arrived = 0;
    ++m.generation;
    return;
  }
  Lanes lanes{&m.generation, m.generation.load(), &m.mutex, &m.arrived};
  if (lock.owns_lock()) lock.unlock();
  block_.wait(self, site,
              {[](void* data) {
                 const auto& l = *static_cast<Lanes*>(data);
                 return l.generation->load(std::memory_order_acquire) != l.before;
               },
               [](void* data) {
                 const auto& l = *static_cast<const Lanes*>(data);
                 const std::lock_guard<std::mutex> lock(*l.mutex);
                 return fmt::format("{} of the 128 threads of its warpgroup have come", *l.arrived);
               },
               &lanes});
}

void Async::fence(Thread& self, Site site) {
  meet(self, site, nullptr, [](Group& group) { group.fenced = true; });
}

void Async::multiply(Thread& self, Site site, const Multiply& part) {
  Multiply mine = part;
  meet(self, site, &mine, [&](Group& group) { take_over(self, group, mine); });
}

void Async::take_over(const Thread& self, Group& group, const Multiply& part) {
  std::array<float*, kGroupSize> lanes;
  for (unsigned lane = 0; lane < kGroupSize; ++lane) {
    const auto& other = *static_cast<const Multiply*>(group.meeting.parts[lane]);
    if (other.a != part.a || other.b != part.b || other.accumulate != part.accumulate) {
      block_.fault(self, "lanes of a warpgroup call wgmma with different descriptors");
    }
    lanes[lane] = other.d;
  }
  std::size_t sums = 0;
  while (sums < group.sums.size() && group.sums[sums].lanes != lanes) ++sums;
  if (sums == group.sums.size()) {
    if (!group.fenced) {
      block_.fault(
          self, "calls wgmma without a wgmma_fence since its sums were last in the threads' hands");
    }
    Sums taken{lanes, part.columns,
               std::vector<float>(static_cast<std::size_t>(kRows * part.columns))};
    for (unsigned lane = 0; lane < kGroupSize; ++lane) {
      for (int i = 0; i < part.columns / 2; ++i) {
        taken.values[place_of(lane, i, part.columns)] = lanes[lane][i];
        lanes[lane][i] = std::nanf("");
      }
    }
    group.sums.push_back(std::move(taken));
  } else if (group.sums[sums].columns != part.columns) {
    block_.fault(self, "wgmmas of different shapes work on the same sums without a wait between");
  }
  group.asked.push_back({part, sums, group.committed, false});
  if (counting) count_collective("mma of a warpgroup");
  if (early()) compute(self, group, group.committed + 1);
}

// What was asked for in the groups before `limit` and is not done, in its order.
void Async::compute(const Thread& self, Group& group, int limit) {
  for (Asked& asked : group.asked) {
    if (asked.done || asked.group >= limit) continue;
    asked.done = true;
    const Multiply& m = asked.what;
    const int columns = m.columns;
    std::vector<float> a(static_cast<std::size_t>(kDepth * kRows)),
        b(static_cast<std::size_t>(kDepth * columns));
    Operand(block_, *this, self, "a", m.a, m.transposed_a).read(kRows, a.data());
    Operand(block_, *this, self, "b", m.b, m.transposed_b).read(columns, b.data());
    float* const sums = group.sums[asked.sums].values.data();
    if (!m.accumulate) std::fill_n(sums, kRows * columns, 0.0f);
    for (int row = 0; row < kRows; ++row) {
      float* const to = sums + row * columns;
      for (int k = 0; k < kDepth; ++k) {
        const float x = a[static_cast<std::size_t>(k * kRows + row)];
        const float* const y = b.data() + k * columns;
        for (int n = 0; n < columns; ++n) to[n] += x * y[n];
      }
    }
  }
}

void Async::commit(Thread& self, Site site) {
  meet(self, site, nullptr, [](Group& group) { ++group.committed; });
}

void Async::wait(Thread& self, Site site, int pending) {
  meet(self, site, nullptr, [&](Group& group) {
    group.wanted = group.committed - pending;
    if (early()) finish(group);
  });
  // As late as may be is when nobody else can go on.
  Group& group = group_of(self);
  struct Limit {
    const Group* group;
    int groups;
  } limit{&group, group.wanted};
  block_.wait(self, site,
              {[](void* data) {
                 const auto& l = *static_cast<Limit*>(data);
                 return l.group->finished >= l.groups;
               },
               [](void*) { return std::string("its wgmmas"); }, &limit});
}

// Does what is waited for. Sums that nothing works on any more go back to the threads.
void Async::finish(Group& group) {
  const auto number = static_cast<std::size_t>(&group - groups_.data());
  compute(block_.all_threads()[number * kGroupSize], group, group.wanted);
  group.finished = std::max(group.finished, group.wanted);
  std::erase_if(group.asked, [&](const Asked& asked) { return asked.group < group.wanted; });
  for (std::size_t k = 0; k < group.sums.size(); ++k) {
    Sums& sums = group.sums[k];
    const bool busy = std::any_of(group.asked.begin(), group.asked.end(),
                                  [&](const Asked& asked) { return asked.sums == k; });
    if (busy || sums.values.empty()) continue;
    for (unsigned lane = 0; lane < kGroupSize; ++lane) {
      for (int i = 0; i < sums.columns / 2; ++i) {
        sums.lanes[lane][i] = sums.values[place_of(lane, i, sums.columns)];
      }
    }
    sums.values.clear();
    sums.lanes = {};
    group.fenced = false;
  }
  if (group.asked.empty()) group.sums.clear();
}

}  // namespace tapescope::emulator
