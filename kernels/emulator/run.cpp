// Launches: limits, the schedule, and the blocks of a grid.
#include <atomic>
#include <cstdlib>
#include <numeric>
#include <string>

#include "engine/emulated_runtime.h"
#include "engine/error.h"
#include "engine/hash.h"
#include "kernels/emulator/block.h"

namespace tapescope::emulator {
namespace {

// "shuffled:17"
bool is_seeded(std::string_view name) {
  constexpr std::string_view kStart = "shuffled:";
  return name.starts_with(kStart) && name.size() > kStart.size() &&
         name.find_first_not_of("0123456789", kStart.size()) == name.npos;
}

Schedule schedule_at_start() {
  Schedule s;
#if defined(__SANITIZE_THREAD__)
  s.kind = Schedule::Kind::os_threads;
#endif
  const char* text = std::getenv("TAPESCOPE_EMULATOR");
  const std::string_view name(text == nullptr ? "" : text);
  if (name.empty()) return s;
  if (name == "forward") return s;
  if (name == "os_threads") {
    s.kind = Schedule::Kind::os_threads;
  } else if (name == "reverse") {
    s.order = Order::reverse;
  } else if (name == "shuffled" || is_seeded(name)) {
    s.order = Order::shuffled;
    if (name.size() > 9) s.seed = std::strtoull(text + 9, nullptr, 10);
  } else {
    throw usage_error(
        "TAPESCOPE_EMULATOR={} is not known; it is forward, reverse, shuffled:SEED or os_threads",
        name);
  }
  return s;
}

Schedule& current_schedule() {
  static Schedule s = schedule_at_start();
  return s;
}

void check(const Grid& g) {
  const auto threads = std::uint64_t{g.threads.x} * g.threads.y * g.threads.z;
  if (threads == 0 || threads > kMaxThreads || g.threads.z > 64) {
    throw failure(
        "[{}] a block of {} x {} x {} threads cannot be launched: 1 to {} in all, 64 in z",
        g.kernel, g.threads.x, g.threads.y, g.threads.z, kMaxThreads);
  }
  if (g.blocks.x == 0 || g.blocks.y == 0 || g.blocks.z == 0 || g.blocks.x > 0x7fffffffu ||
      g.blocks.y > 65535 || g.blocks.z > 65535) {
    throw failure(
        "[{}] a grid of {} x {} x {} blocks cannot be launched: each extent at least 1, x below "
        "2^31, y and z below 65536",
        g.kernel, g.blocks.x, g.blocks.y, g.blocks.z);
  }
  if (g.dynamic_shared_bytes > g.shared_limit) {
    throw failure("[{}] {} bytes of dynamic shared memory are more than the {} a block may have",
                  g.kernel, g.dynamic_shared_bytes, g.shared_limit);
  }
}

}  // namespace

void set_schedule(Schedule schedule) { current_schedule() = schedule; }
Schedule schedule() { return current_schedule(); }

std::int64_t block_in_turn(const Grid& grid, std::int64_t k) {
  const auto count = static_cast<std::int64_t>(grid.blocks.x) * grid.blocks.y * grid.blocks.z;
  const Schedule s = schedule();
  if (s.order == Order::reverse) return count - 1 - k;
  if (s.order != Order::shuffled) return k;
  // A stride without a common factor with the count, and a start: every block once.
  std::int64_t stride = static_cast<std::int64_t>(mix(s.seed, 1) % 997) + 1;
  while (std::gcd(stride, count) != 1) ++stride;
  return (k % count * (stride % count) + static_cast<std::int64_t>(mix(s.seed, 2) >> 40)) % count;
}

std::atomic<std::uint64_t> launched = 0;

std::uint64_t launches() { return launched; }

std::vector<std::string_view>* launched_kernels = nullptr;

void run(const Grid& grid) {
  check(grid);
  if (emulated_recording() != nullptr) {
    throw failure("[{}] was launched past the recording that is under way", grid.kernel);
  }
  ++launched;
  if (launched_kernels != nullptr) launched_kernels->push_back(grid.kernel);
  const auto count = static_cast<std::int64_t>(grid.blocks.x) * grid.blocks.y * grid.blocks.z;
  if (schedule().kind == Schedule::Kind::os_threads) {
    for (std::int64_t k = 0; k < count; ++k) {
      run_block_with_os_threads(grid, block_in_turn(grid, k));
    }
    return;
  }
  // Few enough pieces to be cheap, enough of them to share out.
  const std::int64_t grain = std::max<std::int64_t>(1, count / 64);
  parallel_ranges(count, grain, [&](std::int64_t first, std::int64_t last) {
    run_blocks_with_fibers(grid, first, last);
  });
}

}  // namespace tapescope::emulator
