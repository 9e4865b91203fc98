#include "kernels/emulator/counters.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "engine/error.h"
#include "kernels/emulator/block.h"

namespace tapescope::emulator {
namespace {

constexpr std::uintptr_t kSector = 32, kBank = 4, kBanks = 32;

struct Access {
  const void* at;
  std::uint32_t turn;  // the how manieth of its lane at this place
  unsigned thread;     // of the block
  std::uintptr_t address;
  std::uint32_t bytes;
  bool write, shared;

  // What sorts: the lanes of one access of a warp lie together, in their order.
  auto key() const { return std::tuple(thread / kWarpSize, at, turn, thread); }
  friend bool together(const Access& a, const Access& b) {
    return a.thread / kWarpSize == b.thread / kWarpSize && a.at == b.at && a.turn == b.turn;
  }
};

// What a CPU thread has seen of the block that it runs.
struct Trace {
  std::vector<Access> accesses;
  std::vector<std::unordered_map<const void*, std::uint32_t>> turns;  // by thread of the block
  Counters seen;
  int paused = 0;
};
thread_local Trace trace;

std::span<const Range> ranges;
std::mutex mutex;
Counters total;

void add(Counters& to, const Counters& c) {
  to.loads += c.loads, to.stores += c.stores;
  to.bytes_read += c.bytes_read, to.bytes_written += c.bytes_written;
  to.sectors_read += c.sectors_read, to.sectors_written += c.sectors_written;
  to.shared_accesses += c.shared_accesses, to.shared_passes += c.shared_passes;
  to.bank_conflicts += c.bank_conflicts;
  to.barriers += c.barriers, to.shuffles += c.shuffles, to.multiplies += c.multiplies;
}

void count_global(std::span<const Access> lanes, Counters& c) {
  std::vector<std::uintptr_t> sectors;
  std::uint64_t bytes = 0;
  for (const Access& a : lanes) {
    bytes += a.bytes;
    for (std::uintptr_t s = a.address / kSector; s <= (a.address + a.bytes - 1) / kSector; ++s) {
      sectors.push_back(s);
    }
  }
  std::sort(sectors.begin(), sectors.end());
  const auto touched =
      static_cast<std::uint64_t>(std::unique(sectors.begin(), sectors.end()) - sectors.begin());
  const bool write = lanes[0].write;
  (write ? c.stores : c.loads) += 1;
  (write ? c.bytes_written : c.bytes_read) += bytes;
  (write ? c.sectors_written : c.sectors_read) += touched;
}

// Lanes are served in groups that ask for 128 bytes in all: 32 of 4 bytes, 8 of 16. In a group,
// each bank gives one word a pass; lanes that want the same word share it.
void count_shared(std::span<const Access> lanes, Counters& c) {
  const std::size_t group = std::max<std::size_t>(1, 128 / std::max(lanes[0].bytes, 4u));
  ++c.shared_accesses;
  for (std::size_t first = 0; first < lanes.size(); first += group) {
    std::array<std::vector<std::uintptr_t>, kBanks> words;
    for (const Access& a : lanes.subspan(first, std::min(group, lanes.size() - first))) {
      for (std::uintptr_t w = a.address / kBank; w <= (a.address + a.bytes - 1) / kBank; ++w) {
        auto& bank = words[w % kBanks];
        if (std::find(bank.begin(), bank.end(), w) == bank.end()) bank.push_back(w);
      }
    }
    std::size_t passes = 1;
    for (const auto& bank : words) passes = std::max(passes, bank.size());
    c.shared_passes += passes;
    c.bank_conflicts += passes - 1;
  }
}

}  // namespace

Counters count(std::span<const Range> global, FunctionRef<void()> launches) {
  if (schedule().kind != Schedule::Kind::fibers) {
    throw failure("kernels are counted with threads as fibers: unset TAPESCOPE_EMULATOR");
  }
  ranges = global;
  total = {};
  counting = true;
  try {
    launches();
  } catch (...) {
    counting = false;
    throw;
  }
  counting = false;
  return total;
}

void count_access(const void* address, std::size_t bytes, bool write, const void* at) {
  Thread* const self = current;
  if (self == nullptr || trace.paused > 0) return;
  const bool shared = self->block->is_shared(address);
  const auto inside = [&](const Range& r) {
    const auto* begin = static_cast<const unsigned char*>(r.begin);
    return address >= begin && address < begin + r.bytes;
  };
  if (!shared && std::none_of(ranges.begin(), ranges.end(), inside)) return;
  if (trace.turns.size() <= self->number) trace.turns.resize(self->number + 1);
  trace.accesses.push_back({at, trace.turns[self->number][at]++, self->number,
                            reinterpret_cast<std::uintptr_t>(address),
                            static_cast<std::uint32_t>(bytes), write, shared});
}

void count_bulk_read(const void* address, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  trace.seen.bytes_read += bytes;
  trace.seen.sectors_read += (first + bytes - 1) / kSector - first / kSector + 1;
}

void count_collective(const char* what) {
  const std::string_view name(what);
  if (name.starts_with("ldmatrix")) return;  // its lanes' accesses are counted
  (name.starts_with("mma") ? trace.seen.multiplies : trace.seen.shuffles) += 1;
}
void count_barrier() { ++trace.seen.barriers; }
void pause_counting() { ++trace.paused; }
void resume_counting() { --trace.paused; }

void begin_block() {
  trace.accesses.clear();
  trace.turns.clear();
  trace.seen = {};
  trace.paused = 0;
}

void end_block() {
  std::sort(trace.accesses.begin(), trace.accesses.end(),
            [](const Access& a, const Access& b) { return a.key() < b.key(); });
  const std::span<const Access> all(trace.accesses);
  for (std::size_t first = 0; first < all.size();) {
    std::size_t last = first + 1;
    while (last < all.size() && together(all[first], all[last])) ++last;
    const auto lanes = all.subspan(first, last - first);
    lanes[0].shared ? count_shared(lanes, trace.seen) : count_global(lanes, trace.seen);
    first = last;
  }
  const std::lock_guard lock(mutex);
  add(total, trace.seen);
}

}  // namespace tapescope::emulator
