#include "kernels/collectives/processor_shares.h"

#include <sched.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "engine/hash.h"
#include "engine/processors.h"

namespace tapescope {
namespace {

// What ranks that share processors have in common.
struct Seat {
  std::uint64_t machine;
  cpu_set_t processors;
};

// Names of hosts repeat among containers, and what the kernel drew when it was booted does not
// among machines.
std::uint64_t machine() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return stable_hash(name + ("/" + boot));
}

}  // namespace

std::vector<int> share_of(std::span<const int> processors, int part, int parts) {
  const std::size_t count = processors.size(), k = static_cast<std::size_t>(part),
                    n = static_cast<std::size_t>(parts);
  if (count < n) return {processors[k % count]};
  const auto begin = processors.begin();
  return {begin + static_cast<std::ptrdiff_t>(count * k / n),
          begin + static_cast<std::ptrdiff_t>(count * (k + 1) / n)};
}

void share_processors(Communicator& ranks) {
  const std::vector<int> allowed = allowed_processors();
  Seat own{};
  own.machine = machine();
  for (const int cpu : allowed) CPU_SET(static_cast<std::size_t>(cpu), &own.processors);
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<Seat> seats(size);
  ranks.all_gather(&own, std::vector<std::size_t>(size, sizeof own), seats.data());
  int part = 0, parts = 0;
  for (std::size_t rank = 0; rank < size; ++rank) {
    if (std::memcmp(&seats[rank], &own, sizeof own) != 0) continue;
    if (rank < static_cast<std::size_t>(ranks.rank())) ++part;
    ++parts;
  }
  if (parts > 1) keep_processors(share_of(allowed, part, parts));
}

}  // namespace tapescope
