// The emulator: what CUDA promises holds, and what CUDA forbids is reported. Every kernel below
// that is wrong is wrong in one way, and beside it stands the check that must see it.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/common/gpu.h"
#include "kernels/common/warp.h"
#include "tests/kernels/emulator_testing.h"

namespace tapescope::emulated {
namespace {

class Emulator : public KeepsSchedule {};

// --- what CUDA promises ---

__global__ void identity(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned i = block * (blockDim.x * blockDim.y * blockDim.z) + thread;
  out[i] += i;
}

TEST_F(Emulator, EveryThreadRunsOnceInEveryOrder) {
  TAPESCOPE_NEEDS_FIBERS();
  for (const emulator::Order order :
       {emulator::Order::forward, emulator::Order::reverse, emulator::Order::shuffled}) {
    emulator::set_schedule({emulator::Schedule::Kind::fibers, order, 7});
    std::vector<unsigned> out(3 * 2 * 2 * 4 * 3 * 2, 1000);
    launch<identity>(kQueue, dim3(3, 2, 2), dim3(4, 3, 2), 0, out.data());
    for (unsigned i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], 1000 + i);
  }
}

__global__ void block_sums(const float* x, float* y) {
  TAPESCOPE_SHARED(float, scratch, [32]);
  const float total = block_reduce<Sum>(x[blockIdx.x * blockDim.x + threadIdx.x], scratch);
  const float largest = block_reduce<Max>(x[blockIdx.x * blockDim.x + threadIdx.x], scratch);
  if (threadIdx.x == 0) {
    y[2 * blockIdx.x] = total;
    y[2 * blockIdx.x + 1] = largest;
  }
}

TEST_F(Emulator, BlockReduction) {
  std::vector<float> x(5 * 256), y(10);
  std::iota(x.begin(), x.end(), 0.0f);
  for (const auto kind : {before_.kind, emulator::Schedule::Kind::os_threads}) {
    emulator::set_schedule({kind, emulator::Order::shuffled, 3});
    launch<block_sums>(kQueue, 5, 256, 0, static_cast<const float*>(x.data()), y.data());
    for (int b = 0; b < 5; ++b) {
      EXPECT_EQ(y[static_cast<std::size_t>(2 * b)], 256.0f * (256 * b + 127.5f));
      EXPECT_EQ(y[static_cast<std::size_t>(2 * b + 1)], 256.0f * b + 255);
    }
  }
}

__global__ void warp_functions(int* out) {  // {11, 64}
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  const auto store = [&](int row, int value) { out[row * 64 + t] = value; };
  store(0, __shfl_sync(kFullMask, t, 5));
  store(1, __shfl_sync(kFullMask, t, 2, 8));
  store(2, __shfl_up_sync(kFullMask, t, 3));
  store(3, __shfl_down_sync(kFullMask, t, 3, 16));
  store(4, __shfl_xor_sync(kFullMask, t, 6));
  store(5, static_cast<int>(__ballot_sync(kFullMask, lane % 3 == 0)));
  store(6, __any_sync(kFullMask, lane == 31));
  store(7, __all_sync(kFullMask, lane < 31));
  store(8, __reduce_add_sync(kFullMask, lane));
  store(9, __reduce_max_sync(kFullMask, lane - 40));
  if (lane < 8) store(10, __shfl_xor_sync(0xffu, t, 1));
}

TEST_F(Emulator, WarpFunctionsAreCudas) {
  std::vector<int> out(11 * 64, -1);
  launch<warp_functions>(kQueue, 1, 64, 0, out.data());
  for (int t = 0; t < 64; ++t) {
    const auto at = [&](int row) { return out[static_cast<std::size_t>(row * 64 + t)]; };
    const int warp = t / 32 * 32, lane = t % 32;
    EXPECT_EQ(at(0), warp + 5);
    EXPECT_EQ(at(1), t / 8 * 8 + 2);
    EXPECT_EQ(at(2), lane < 3 ? t : t - 3);
    EXPECT_EQ(at(3), lane % 16 + 3 < 16 ? t + 3 : t);
    EXPECT_EQ(at(4), t ^ 6);
    EXPECT_EQ(at(5), static_cast<int>(0b01001001001001001001001001001001u));
    EXPECT_EQ(at(6), 1);
    EXPECT_EQ(at(7), 0);
    EXPECT_EQ(at(8), 496);
    EXPECT_EQ(at(9), -9);
    EXPECT_EQ(at(10), lane < 8 ? (t ^ 1) : -1);
  }
}

__global__ void count(unsigned* total) { atomicAdd(total, 1u); }

TEST_F(Emulator, AtomicsOfManyBlocks) {
  unsigned total = 0;
  launch<count>(kQueue, 300, 33, 0, &total);
  EXPECT_EQ(total, 9900u);
}

__global__ void dynamic(float* out) {
  TAPESCOPE_DYNAMIC_SHARED(float, scratch);
  scratch[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = scratch[blockDim.x - 1 - threadIdx.x];
}

TEST_F(Emulator, DynamicSharedMemory) {
  std::vector<float> out(64);
  launch<dynamic>(kQueue, 1, 64, 64 * sizeof(float), out.data());
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], 63.0f - static_cast<float>(i));
}

// --- what CUDA forbids ---

__global__ void divergent_barrier(int* out) {
  if (threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1;
}

TEST_F(Emulator, ABarrierInDivergentCodeIsReported) {
  TAPESCOPE_NEEDS_FIBERS();
  std::vector<int> out(64);
  const std::string text =
      message_of([&] { launch<divergent_barrier>(kQueue, 2, 64, 0, out.data()); });
  EXPECT_NE(text.find("[divergent_barrier] block ("), std::string::npos) << text;
  EXPECT_NE(text.find("thread (0, 0, 0): waits in __syncthreads at emulator_test.cpp:"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("has left the kernel"), std::string::npos) << text;
}

__global__ void missing_lane(int* out) {
  if (threadIdx.x != 5) out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1, 1);
}
__global__ void not_in_mask(int* out) { out[threadIdx.x] = __shfl_sync(0xffffu, 1, 1); }
__global__ void reads_outside_mask(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

TEST_F(Emulator, AWrongShuffleMaskIsReported) {
  TAPESCOPE_NEEDS_FIBERS();
  std::vector<int> out(32);
  std::string text = message_of([&] { launch<missing_lane>(kQueue, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("names lane 5, but thread (5, 0, 0) has left the kernel"), std::string::npos)
      << text;
  text = message_of([&] { launch<not_in_mask>(kQueue, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("which leaves out its own lane"), std::string::npos) << text;
  text = message_of([&] { launch<reads_outside_mask>(kQueue, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("reads lane 20, which does not take part"), std::string::npos) << text;
}

__global__ void nothing() {}
__global__ void large_array(int* out) {
  TAPESCOPE_SHARED(int, scratch, [13000]);
  scratch[threadIdx.x] = 1;
  out[0] = scratch[0];
}

TEST_F(Emulator, LimitsAreReported) {
  TAPESCOPE_NEEDS_FIBERS();
  std::string text = message_of([] { launch<nothing>(kQueue, 1, 1025, 0); });
  EXPECT_NE(text.find("[nothing] a block of 1025 x 1 x 1 threads"), std::string::npos) << text;
  text = message_of([] { launch<nothing>(kQueue, dim3(0), 32, 0); });
  EXPECT_NE(text.find("[nothing] a grid of 0 x 1 x 1 blocks"), std::string::npos) << text;
  text = message_of([] { launch<nothing>(kQueue, 1, 32, kMaxSharedBytes + 1); });
  EXPECT_NE(text.find("bytes of dynamic shared memory"), std::string::npos) << text;
  std::vector<int> out(32);
  text = message_of([&] { launch<large_array>(kQueue, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("'scratch' brings the shared arrays of fixed size to 52000 bytes"),
            std::string::npos)
      << text;
}

__global__ void shared_overrun(int* out) {
  TAPESCOPE_SHARED(int, scratch, [32]);
  int* const first = &scratch[0];
  first[threadIdx.x + 1] = 1;  // the last thread's is past the end
  __syncthreads();
  out[threadIdx.x] = scratch[threadIdx.x];
}
[[maybe_unused]] __global__ void global_overrun(int* out) { out[threadIdx.x + 1] = 1; }

#if defined(__SANITIZE_ADDRESS__)
using EmulatorDeathTest = Emulator;
TEST_F(EmulatorDeathTest, AddressSanitizerNamesTheLineOfAnOverrun) {
  std::vector<int> out(32);
  EXPECT_DEATH(launch<shared_overrun>(kQueue, 1, 32, 0, out.data()),
               "AddressSanitizer.*use-after-poison(.|\n)*shared_overrun.*emulator_test.cpp");
  EXPECT_DEATH(launch<global_overrun>(kQueue, 1, 32, 0, out.data()),
               "AddressSanitizer.*heap-buffer-overflow(.|\n)*global_overrun.*emulator_test.cpp");
}
#else
TEST_F(Emulator, ASharedOverrunIsReported) {
  TAPESCOPE_NEEDS_FIBERS();
  std::vector<int> out(32);
  const std::string text =
      message_of([&] { launch<shared_overrun>(kQueue, 1, 32, 0, out.data()); });
  EXPECT_NE(text.find("past the end of the shared array 'scratch' of 128 bytes"), std::string::npos)
      << text;
}
#endif

TEST_F(Emulator, AfterAFailureTheNextLaunchRuns) {
  TAPESCOPE_NEEDS_FIBERS();
  std::vector<int> out(64);
  EXPECT_NE(message_of([&] { launch<divergent_barrier>(kQueue, 2, 64, 0, out.data()); }), "");
  std::vector<float> x(5 * 256, 1.0f), y(10);
  launch<block_sums>(kQueue, 5, 256, 0, static_cast<const float*>(x.data()), y.data());
  EXPECT_EQ(y[0], 256.0f);
}

__global__ void missing_barrier(const float* x, float* y) {
  TAPESCOPE_SHARED(float, scratch, [64]);
  scratch[threadIdx.x] = x[threadIdx.x];
  // __syncthreads() is missing here.
  y[threadIdx.x] = scratch[63 - threadIdx.x];
}

#if defined(__SANITIZE_THREAD__)
using EmulatorDeathTest = Emulator;
TEST_F(EmulatorDeathTest, ThreadSanitizerNamesTheLineOfAMissingBarrier) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  std::vector<float> x(64, 1.0f), y(64);
  const auto race = [&] {
    emulator::set_schedule({emulator::Schedule::Kind::os_threads});
    launch<missing_barrier>(kQueue, 1, 64, 0, static_cast<const float*>(x.data()), y.data());
    std::exit(0);  // ThreadSanitizer makes it another status
  };
  EXPECT_EXIT(race(), testing::ExitedWithCode(66),
              "ThreadSanitizer: data race(.|\n)*missing_barrier.*emulator_test.cpp");
}
#endif

TEST_F(Emulator, AMissingBarrierChangesTheResultWithTheOrder) {
  TAPESCOPE_NEEDS_FIBERS();
  std::vector<float> x(64), first(64), second(64);
  std::iota(x.begin(), x.end(), 1.0f);
  const auto run = [&](emulator::Order order, std::vector<float>& y) {
    emulator::set_schedule({emulator::Schedule::Kind::fibers, order, 11});
    launch<missing_barrier>(kQueue, 1, 64, 0, static_cast<const float*>(x.data()), y.data());
  };
  run(emulator::Order::forward, first);
  run(emulator::Order::shuffled, second);
  // As bits: what was read too early is the NaN that fresh shared memory holds.
  EXPECT_NE(std::memcmp(first.data(), second.data(), 64 * sizeof(float)), 0);
}

}  // namespace
}  // namespace tapescope::emulated
