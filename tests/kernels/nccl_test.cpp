// Ranks that speak through NCCL: here through a library that has its functions (fake_nccl.cpp), on
// the emulated device.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "engine/remedy.h"
#include "engine/runtime.h"
#include "kernels/collectives/all_reduce.h"
#include "kernels/collectives/device_link.h"
#include "kernels/collectives/nccl_ranks.h"
#include "tests/kernels/nccl_on_gpu.h"
#include "tests/kernels/rank_bodies.h"
#include "tests/kernels/rank_tests.h"
#include "tests/says.h"

namespace tapescope {
namespace {

const nccl::Library& fake() {
  static const nccl::Library opened = nccl::open_library(TAPESCOPE_FAKE_NCCL);
  return opened;
}

// Threads as ranks, joined one after the other: so much the library allows.
void on_ranks(int ranks, bool fast, const std::function<void(Communicator&)>& body) {
  const Environment where(Variables{{"NCCL_COMM_ID", "here:1"}});
  std::vector<std::unique_ptr<Communicator>> all;
  for (int rank = 0; rank < ranks; ++rank) {
    all.push_back(join_nccl(fake(), nullptr, {rank, ranks, fast, 60, Device::emulated()}));
  }
  std::vector<std::thread> threads;
  std::vector<std::string> wrong(all.size());
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(*all[rank]);
      } catch (const std::exception& error) {
        wrong[rank] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& words : wrong) EXPECT_EQ(words, "");
}

std::vector<float> sum_on_device(Communicator& ranks, std::int64_t count, bool in_place) {
  std::vector<float> data(static_cast<std::size_t>(count)), out(data.size());
  for (std::int64_t i = 0; i < count; ++i) {
    data[static_cast<std::size_t>(i)] = number_of<float>(ranks.rank(), i, 1);
  }
  const Plan plan = all_reduce(&ranks, count, DType::f32, Device::emulated());
  std::vector<char> room(plan.workspace_bytes() + 256);
  const auto begin = reinterpret_cast<std::uintptr_t>(room.data());
  void* const workspace = room.data() + (256 - begin % 256) % 256;
  const void* const in[] = {data.data()};
  void* const to[] = {in_place ? data.data() : out.data()};
  plan.run(DeviceRuntime::of(Device::emulated()).compute_queue(), {in, to, workspace});
  return in_place ? data : out;
}

TEST(Nccl, SumsOnADeviceHaveTheTreesBits) {
  ASSERT_EQ(fake().why_missing, "");
  for (const int ranks : {1, 2, 4, 8}) {
    on_ranks(ranks, false, [](Communicator& own) {
      for (const std::int64_t count : {0, 1, 7, 1000, 4099, 20'001}) {
        for (const bool in_place : {false, true}) {
          const std::vector<float> got = sum_on_device(own, count, in_place);
          for (std::int64_t i = 0; i < count; ++i) {
            expect(same_bits(got[static_cast<std::size_t>(i)], tree<float>(0, own.size(), i, 1)),
                   fmt::format("the tree's bits at {} of {}, rank {}", i, count, own.rank()));
          }
        }
      }
    });
  }
}

// Two of them under way, and one that is made meanwhile.
TEST(Nccl, SumsInTwoStepsHaveTheTreesBits) {
  for (const int ranks : {1, 4}) {
    on_ranks(ranks, false, [](Communicator& own) {
      constexpr std::int64_t kCount = 777;
      const Device device = Device::emulated();
      const Queue queue = DeviceRuntime::of(device).compute_queue();
      struct Sum {
        SumInTwoSteps steps;
        std::vector<float> x;
        std::vector<char> room;
        void* aligned() {
          const auto begin = reinterpret_cast<std::uintptr_t>(room.data());
          return room.data() + (256 - begin % 256) % 256;
        }
      };
      std::vector<Sum> sums;
      for (std::uint64_t call = 0; call < 2; ++call) {
        sums.push_back({all_reduce_in_two_steps(own, kCount, DType::f32, device), {}, {}});
        Sum& sum = sums.back();
        expect(sum.steps.begin.variant() == "pairs", "a sum by pairs");
        sum.room.resize(sum.steps.room + 256);
        for (std::int64_t i = 0; i < kCount; ++i) {
          sum.x.push_back(number_of<float>(own.rank(), i, call));
        }
        void* const out[] = {sum.x.data(), sum.aligned()};
        sum.steps.begin.run(queue, {nullptr, out, nullptr});
      }
      sum_on_device(own, 10, true);
      for (std::uint64_t call = 0; call < 2; ++call) {
        Sum& sum = sums[call];
        const void* const in[] = {sum.x.data(), sum.aligned()};
        void* const out[] = {sum.x.data()};
        sum.steps.end.run(queue, {in, out, nullptr});
        for (std::int64_t i = 0; i < kCount; ++i) {
          expect(same_bits(sum.x[static_cast<std::size_t>(i)], tree<float>(0, own.size(), i, call)),
                 fmt::format("the tree's bits of sum {} at {}", call, i));
        }
      }
    });
  }
}

// Of eight numbers nearly every order has bits of its own: what was asked for is what runs.
TEST(Nccl, FastSumsAreTheLibrarys) {
  on_ranks(8, true, [](Communicator& ranks) {
    constexpr std::int64_t kCount = 1000;
    const auto got = sum_on_device(ranks, kCount, false);
    int other = 0;
    for (std::int64_t i = 0; i < kCount; ++i) {
      float backwards = 0;
      for (int r = ranks.size(); r-- > 0;) backwards += number_of<float>(r, i, 1);
      const float value = got[static_cast<std::size_t>(i)];
      expect(same_bits(value, backwards), fmt::format("the library's bits at {}", i));
      other += !same_bits(value, tree<float>(0, ranks.size(), i, 1));
    }
    expect(other > kCount / 10, "an order that is not the tree's");
  });
}

TEST(Nccl, HostDataWithoutAnotherWay) {
  for (const int ranks : {1, 4}) {
    on_ranks(ranks, false, [](Communicator& own) {
      check_sum<float>(own, 1000, 1);
      check_sum<double>(own, 300'000, 2);  // in several pieces
      sums_under_way(own);
      all_gathers_and_broadcasts(own);
      mixed_calls(own, 100);
      expect(own.seconds() > 0, "time that was counted");
    });
  }
}

// Under a launcher of another transport: nothing says where to meet, rank 0's id is told through
// it.
TEST(Nccl, HostDataGoesTheLaunchersWay) {
  constexpr int kRanks = 4;
  const int descriptor = LocalWorld::create(kRanks);
  const auto world = std::make_shared<LocalWorld>(descriptor, kRanks);
  ::close(descriptor);
  std::vector<std::string> wrong(kRanks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        const auto ranks =
            join_nccl(fake(), join_local(world, rank, {.rank_timeout = 20}), {rank, kRanks, false, 60, Device::emulated()});
        expect(ranks->transport() == "nccl" && ranks->rank() == rank, "who this is");
        mixed_calls(*ranks, 30);
        sums_under_way(*ranks);
        const float first = sum_on_device(*ranks, 5, false)[0];
        expect(same_bits(first, tree<float>(0, kRanks, 0, 1)), "the tree's bits");
        ranks->barrier();
      } catch (const std::exception& error) {
        wrong[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& words : wrong) EXPECT_EQ(words, "");
}

// The other rank joins, and then says nothing, or NCCL finds that it is lost.
TEST(Nccl, ARankThatNeverComesIsNotWaitedForForEver) {
  const auto words_of = [](double timeout, Variables more) {
    more["NCCL_COMM_ID"] = "here:1";
    const Environment where(more);
    const auto one = join_nccl(fake(), nullptr, {0, 2, false, timeout, Device::emulated()}),
               other = join_nccl(fake(), nullptr, {1, 2, false, timeout, Device::emulated()});
    for (const bool on_device : {true, false}) {
      try {
        float number = 1;
        on_device ? void(sum_on_device(*one, 5, false)) : one->all_reduce(&number, 1, DType::f32);
      } catch (const ErrorWithRemedy& error) {
        EXPECT_EQ(error.remedy, Remedy::longer_wait);
        if (!on_device) return std::string(error.what());
      }
    }
    return std::string("nothing was thrown");
  };
  EXPECT_SAYS(words_of(0.2, {}), "[nccl] ncclAllGather: rank 0 of 2 has waited for 0.2 s");
  EXPECT_SAYS(words_of(60, {{"FAKE_NCCL_LOST", "1"}}),
              "[nccl] ncclAllGather: rank 0 of 2 has lost another one (a fault)");
}

TEST(Nccl, TwoRanksOnOneGpuAreRefused) {
  const Environment where(Variables{{"NCCL_COMM_ID", "one-gpu:1"}});
  const std::string words = message_of(Blame::usage, [] {
    join_nccl(fake(), nullptr, {1, 2, false, 60, Device::emulated()});
  });
  EXPECT_SAYS(words, "NCCL refuses rank 1 of 2: Duplicate GPU detected");
  EXPECT_SAYS(words, "each rank needs a GPU of its own");
  EXPECT_SAYS(words, "--transport mpi");
}

TEST(Nccl, RanksMeetWhereTheLauncherSays) {
  const auto where = [](const Variables& variables) {
    const Environment set(variables);
    join_nccl(fake(), nullptr, {0, 1, false, 60, Device::emulated()});
    const std::string found = std::getenv("NCCL_COMM_ID");
    ::unsetenv("NCCL_COMM_ID");
    return found;
  };
  EXPECT_EQ(where({{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}}), "node7:29500");
  EXPECT_EQ(where({{"MASTER_ADDR", "fe80::1"}, {"MASTER_PORT", "29500"}}), "[fe80::1]:29500");
  EXPECT_EQ(where({{"MASTER_ADDR", "node7"},
                   {"MASTER_PORT", "29500"},
                   {"TORCHELASTIC_USE_AGENT_STORE", "True"}}),
            "node7:29501");
  EXPECT_SAYS(message_of(Blame::usage,
                         [&] {
                           where({{"MASTER_ADDR", "node7"}});
                         }),
              "MASTER_ADDR and MASTER_PORT");
  EXPECT_SAYS(message_of(Blame::usage,
                         [&] {
                           where({{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "x"}});
                         }),
              "MASTER_PORT is 'x'");
}

TEST(Nccl, EachRankTakesAGpuOfItsMachine) {
  const auto taken = [](const char* visible, int of_machine) {
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    if (visible != nullptr) ::setenv("CUDA_VISIBLE_DEVICES", visible, 1);
    Launched launched;
    launched.rank = 5;
    launched.rank_of_machine = of_machine;
    take_own_gpu(launched);
    const char* const set = std::getenv("CUDA_VISIBLE_DEVICES");
    const std::string found = set != nullptr ? set : "all";
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    return found;
  };
  EXPECT_EQ(taken(nullptr, 1), "1");
  EXPECT_EQ(taken(nullptr, -1), "all");  // nobody says which
  EXPECT_EQ(taken("4,6,7", 1), "6");
  EXPECT_EQ(taken("GPU-1a,GPU-2b", 0), "GPU-1a");
  EXPECT_EQ(taken("3", 1), "3");  // bound by the launcher
  const std::string words = message_of(Blame::usage, [&] { taken("4,6", 2); });
  EXPECT_SAYS(words, "CUDA_VISIBLE_DEVICES=4,6 names 2 GPUs, and rank 5 is number 2");
}

TEST(Nccl, ALibraryThatIsNoneSaysWhy) {
  EXPECT_SAYS(nccl::open_library("libno-such-nccl.so.2").why_missing,
              "libno-such-nccl.so.2 was not found");
  EXPECT_SAYS(nccl::open_library("libc.so.6").why_missing, "the library found has no nccl");
}

TEST(NcclOnAGpu, OneRankAloneAndInAGraph) {
  if (const std::string why = why_no_nccl(); !why.empty()) GTEST_SKIP() << why;
  for (const bool fast : {false, true}) check_nccl_on_gpu(fast);
}

}  // namespace
}  // namespace tapescope
