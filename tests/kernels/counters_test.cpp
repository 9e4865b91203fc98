// What the emulator counts, on accesses whose cost is worked out by hand. The kernels tell of their
// accesses themselves, as gcc's hooks do in files that are counted (bench/ladder).
#include <gtest/gtest.h>

#include "kernels/common/gpu.h"
#include "kernels/emulator/counters.h"

namespace tapescope::emulated {
namespace {

using emulator::Counters;

struct Walk {
  int stride, offset, bytes;  // of neighbouring lanes, in floats
  bool shared;
};
alignas(128) float global_memory[32 * 40];

__global__ void touch(Walk walk) {
  TAPESCOPE_SHARED(float, memory, [32 * 40]);
  static const char place = 0;
  const float* of = walk.shared ? memory : global_memory;
  emulator::count_access(of + static_cast<int>(threadIdx.x) * walk.stride + walk.offset,
                         static_cast<std::size_t>(walk.bytes), false, &place);
}

Counters of_warp(Walk walk) {
  const emulator::Range range{global_memory, sizeof(global_memory)};
  return emulator::count(
      {&range, 1}, [&] { launch<touch>(Queue{Device::emulated()}, dim3(1), dim3(32), 0, walk); });
}

class Counted : public testing::TestWithParam<emulator::Order> {
 protected:
  void SetUp() override {
    if (emulator::schedule().kind != emulator::Schedule::Kind::fibers)
      GTEST_SKIP() << "needs fibers";
    before_ = emulator::schedule();
    emulator::set_schedule({emulator::Schedule::Kind::fibers, GetParam(), 3});
  }
  void TearDown() override { emulator::set_schedule(before_); }
  emulator::Schedule before_ = emulator::schedule();
};

TEST_P(Counted, SectorsOfGlobalMemory) {
  const struct {
    Walk walk;
    std::uint64_t sectors;
  } cases[] = {
      {{1, 0, 4, false}, 4},    // 128 bytes that begin on a sector
      {{1, 1, 4, false}, 5},    // and 4 bytes behind its begin
      {{0, 0, 4, false}, 1},    // one number for all
      {{8, 0, 4, false}, 32},   // a sector each
      {{40, 0, 4, false}, 32},  //
      {{4, 0, 16, false}, 16},  // 512 bytes
  };
  for (const auto& [walk, sectors] : cases) {
    const Counters c = of_warp(walk);
    EXPECT_EQ(c.sectors_read, sectors) << walk.stride << " " << walk.bytes;
    EXPECT_EQ(c.loads, 1u);
    EXPECT_EQ(c.bytes_read, 32u * static_cast<unsigned>(walk.bytes));
    EXPECT_EQ(c.stores + c.shared_accesses, 0u);
  }
}

TEST_P(Counted, ConflictsOfSharedMemory) {
  const struct {
    Walk walk;
    std::uint64_t passes, conflicts;
  } cases[] = {
      {{1, 0, 4, true}, 1, 0},     // 32 banks
      {{0, 0, 4, true}, 1, 0},     // one word for all
      {{2, 0, 4, true}, 2, 1},     // 16 banks, two words each
      {{32, 0, 4, true}, 32, 31},  // one bank
      {{33, 0, 4, true}, 1, 0},    // a column of rows that are one longer
      {{4, 0, 16, true}, 4, 0},    // 512 bytes are four passes
      {{8, 0, 16, true}, 8, 4},    // eight lanes at a time meet in every other group of four banks
  };
  for (const auto& [walk, passes, conflicts] : cases) {
    const Counters c = of_warp(walk);
    EXPECT_EQ(c.shared_passes, passes) << walk.stride << " " << walk.bytes;
    EXPECT_EQ(c.bank_conflicts, conflicts) << walk.stride << " " << walk.bytes;
    EXPECT_EQ(c.shared_accesses, 1u);
    EXPECT_EQ(c.loads, 0u);
  }
}

__global__ void meet() {
  __syncthreads();
  __shfl_xor_sync(kFullMask, 1, 1);
  __syncthreads();
}

TEST_P(Counted, Meetings) {
  const Counters c =
      emulator::count({}, [] { launch<meet>(Queue{Device::emulated()}, dim3(3), dim3(64), 0); });
  EXPECT_EQ(c.barriers, 6u);  // 3 blocks, two each
  EXPECT_EQ(c.shuffles, 6u);  // 3 blocks of two warps
  EXPECT_EQ(c.multiplies, 0u);
}

INSTANTIATE_TEST_SUITE_P(EveryOrder, Counted,
                         testing::Values(emulator::Order::forward, emulator::Order::reverse,
                                         emulator::Order::shuffled));

}  // namespace
}  // namespace tapescope::emulated
