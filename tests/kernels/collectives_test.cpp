// The ranks of a training and what carries their messages.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>

#include "engine/cuda_library.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/local.h"
#include "kernels/collectives/mpi_library.h"
#include "kernels/collectives/processor_shares.h"
#include "kernels/collectives/tree.h"
#include "kernels/collectives/world.h"
#include "tests/kernels/rank_bodies.h"
#include "tests/kernels/rank_tests.h"
#include "tests/mpirun.h"
#include "tests/says.h"

namespace tapescope {
namespace {

constexpr const char* kBody = "TAPESCOPE_TEST_BODY";  // of a process that is a rank and no test

const std::map<std::string, void (*)(Communicator&)> kBodies = {
    {"everything", everything},         {"one_stops", one_stops},
    {"one_fails", one_fails},           {"one_is_killed", one_is_killed},
    {"another_length", another_length}, {"until_one_ends", until_one_ends}};

int run_body(const std::string& name) {
  WorldOptions options;
  if (name == "one_stops") options.rank_timeout = 3;
  try {
    const auto ranks = join_world(options);
    expect(ranks != nullptr, "several ranks");
    check_processors(*ranks);
    kBodies.at(name)(*ranks);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.blame() == Blame::usage ? 2 : 1;
  }
}

// Before the tests' main: such a process runs none.
const bool kIsNoRank = [] {
  if (const char* body = std::getenv(kBody)) std::exit(run_body(body));
  return true;
}();

pid_t start(const std::vector<std::string>& words, int inherited = -1) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (inherited >= 0) ::posix_spawn_file_actions_adddup2(&actions, inherited, inherited);
  pid_t process = -1;
  EXPECT_EQ(::posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ),
            0);
  ::posix_spawn_file_actions_destroy(&actions);
  return process;
}

int status_of(pid_t process) {
  int status = 0;
  EXPECT_EQ(::waitpid(process, &status, 0), process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Processes of this program that are the ranks of one world.
struct Ranks {
  Ranks(int ranks, const std::string& body) : descriptor(LocalWorld::create(ranks)) {
    world = std::make_unique<LocalWorld>(descriptor, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      const Environment variables({{kBody, body},
                                   {"TAPESCOPE_RANK", std::to_string(rank)},
                                   {"TAPESCOPE_RANKS", std::to_string(ranks)},
                                   {"TAPESCOPE_WORLD_FD", std::to_string(descriptor)}});
      processes.push_back(start({"/proc/self/exe"}, descriptor));
    }
  }
  ~Ranks() { ::close(descriptor); }
  int descriptor;
  std::unique_ptr<LocalWorld> world;
  std::vector<pid_t> processes;
};

// The same as threads of this process, where ThreadSanitizer sees them.
void run_threads(int ranks, const std::function<void(Communicator&)>& body) {
  const int descriptor = LocalWorld::create(ranks);
  const auto world = std::make_shared<LocalWorld>(descriptor, ranks);
  ::close(descriptor);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(*join_local(world, rank));
      } catch (const Error& error) {
        ADD_FAILURE() << "rank " << rank << ": " << error.what();
        world->tell_lost({rank, false});  // the others wait for no thread
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Collectives, ThreadsAsRanks) {
  run_threads(1, everything);
  for (const int count : {2, 4}) {
    run_threads(count, [](Communicator& ranks) {
      sums_under_way(ranks);
      all_gathers_and_broadcasts(ranks);
      mixed_calls(ranks, 300);
    });
  }
}

TEST(Collectives, ProcessesAsRanks) {
  for (const int ranks : {2, 4}) {
    for (const pid_t process : Ranks(ranks, "everything").processes)
      EXPECT_EQ(status_of(process), 0);
  }
}

TEST(Collectives, ARankThatIsKilledIsNamedByTheOthers) {
  for (const std::uint32_t arrivals : {3u, 150u, 1000u}) {
    const Ranks ranks(4, "until_one_ends");
    while (ranks.world->arrivals(1) < arrivals) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    ::kill(ranks.processes[1], SIGKILL);
    for (std::size_t rank = 0; rank < 4; ++rank) {
      EXPECT_EQ(status_of(ranks.processes[rank]), rank == 1 ? 128 + SIGKILL : 0) << rank;
    }
    EXPECT_EQ(ranks.world->lost().rank, 1);
  }
}

TEST(Collectives, ARankThatIsSilentIsNamedByTheOthers) {
  const Ranks ranks(4, "one_stops");
  for (const std::size_t rank : {0, 2, 3}) EXPECT_EQ(status_of(ranks.processes[rank]), 0) << rank;
  EXPECT_EQ(ranks.world->lost().rank, 1);
  EXPECT_TRUE(ranks.world->lost().silent);
  ::kill(ranks.processes[1], SIGKILL);
  EXPECT_EQ(status_of(ranks.processes[1]), 128 + SIGKILL);
}

TEST(Collectives, RanksAtDifferentCallsAreRefused) {
  run_threads(2, [](Communicator& ranks) {
    double numbers[3] = {};
    ranks.barrier();
    const std::string text = message_of(Blame::failure, [&] {
      if (ranks.rank() == 0) ranks.all_reduce(numbers, 3, DType::f64);
      if (ranks.rank() == 1) ranks.broadcast(numbers, 24, 0);
    });
    EXPECT_SAYS(text, "at call 2, all_reduce of 24 bytes");
    EXPECT_SAYS(text, "at call 2, broadcast of 24 bytes");
  });
  run_threads(2, [](Communicator& ranks) {
    float numbers[3] = {};
    const std::string text = message_of(
        Blame::failure, [&] { ranks.all_reduce(numbers, 2 + ranks.rank(), DType::f32); });
    EXPECT_SAYS(text, "all_reduce of 8 bytes");
    EXPECT_SAYS(text, "all_reduce of 12 bytes");
  });
}

TEST(Collectives, WhatIsNoCallIsRefused) {
  run_threads(1, [](Communicator& ranks) {
    float numbers[3] = {};
    EXPECT_SAYS(message_of(Blame::failure, [&] { ranks.finish_sum(); }), "no sum is under way");
    for (float& number : std::span(numbers, 2)) ranks.begin_sum(&number, 1, DType::f32);
    EXPECT_SAYS(message_of(Blame::failure, [&] { ranks.begin_sum(numbers + 2, 1, DType::f32); }),
                "2 sums are under way");
  });
  run_threads(1, [](Communicator& ranks) {
    std::int64_t number = 0;
    const std::size_t lengths[] = {1, 1};
    EXPECT_SAYS(message_of(Blame::failure, [&] { ranks.all_reduce(&number, 1, DType::i64); }),
                "f32 or f64, not of i64");
    EXPECT_SAYS(message_of(Blame::failure, [&] { ranks.all_gather(&number, lengths, &number); }),
                "2 lengths for 1 ranks");
    EXPECT_SAYS(message_of(Blame::failure, [&] { ranks.broadcast(&number, 8, 1); }),
                "from rank 1 of 1");
  });
}

TEST(Collectives, AWorldIsEnteredByItsRanksOnce) {
  const int descriptor = LocalWorld::create(1);
  const auto world = std::make_shared<LocalWorld>(descriptor, 1);
  const auto first = join_local(world, 0);
  EXPECT_SAYS(message_of(Blame::failure, [&] { join_local(world, 0); }), "is rank 0 already");
  EXPECT_SAYS(message_of(Blame::usage, [&] { join_local(world, 1); }), "rank 1 of 1 ranks");
  EXPECT_SAYS(message_of(Blame::usage, [&] { LocalWorld(descriptor, 2); }),
              "is not the memory of 2 ranks");
  const char other = 1;
  ASSERT_EQ(::pwrite(descriptor, &other, 1, 0), 1);
  EXPECT_SAYS(message_of(Blame::usage, [&] { LocalWorld(descriptor, 1); }), "another version");
  ::close(descriptor);
  EXPECT_SAYS(message_of(Blame::usage, [&] { LocalWorld(descriptor, 1); }), "is not the memory");
}

TEST(Collectives, TheNumberOfRanksIsAPowerOfTwo) {
  for (const int ranks : {1, 2, 4, 8, 1024}) EXPECT_TRUE(is_rank_count(ranks)) << ranks;
  for (const int ranks : {-2, 0, 3, 6, 2048}) EXPECT_FALSE(is_rank_count(ranks)) << ranks;
  EXPECT_SAYS(message_of(Blame::usage, [] { LocalWorld::create(3); }), "start 2 or 4");
  EXPECT_SAYS(message_of(Blame::usage, [] { LocalWorld::create(0); }), "start 1");
  EXPECT_SAYS(message_of(Blame::usage, [] { LocalWorld::create(5000); }), "start 1024");
}

std::string told(const Variables& variables) {
  const Environment set(variables);
  const Launched found = launched();
  return fmt::format("{}: {} of {} by '{}'", found.by, found.rank, found.ranks, found.transport);
}

TEST(Collectives, WhatLaunchersSay) {
  EXPECT_EQ(told({}), ": 0 of 1 by ''");
  EXPECT_EQ(told({{"TAPESCOPE_RANK", "1"}, {"TAPESCOPE_RANKS", "2"}}),
            "tapescope --ranks: 1 of 2 by 'local'");
  EXPECT_EQ(told({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}}),
            "Open MPI: 3 of 4 by 'mpi'");
  EXPECT_EQ(told({{"PMI_RANK", "0"}, {"PMI_SIZE", "8"}}), "MPI (PMI): 0 of 8 by 'mpi'");
  EXPECT_EQ(told({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), "torchrun: 1 of 2 by 'nccl'");
  EXPECT_EQ(told({{"RANK", "1"}}), ": 0 of 1 by ''");  // some batch systems set it alone
  const Variables step = {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "4"}};
  EXPECT_EQ(told(step), "Slurm: 2 of 4 by 'mpi'");
  Variables part = step;  // srun --ntasks 2 in an allocation for 4
  part.insert({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}});
  part["SLURM_PROCID"] = "1";
  EXPECT_EQ(told(part), "Slurm: 1 of 2 by 'mpi'");
  // salloc's shell, sbatch's script: an allocation of four tasks, and one process.
  EXPECT_EQ(told({{"SLURM_NTASKS", "4"}}), ": 0 of 1 by ''");
  EXPECT_EQ(told({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}), ": 0 of 1 by ''");
  for (const char* id : {"4294967290", "4294967291", "4294967292"}) {
    EXPECT_EQ(told({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", id}}),
              ": 0 of 1 by ''");
  }
  // mpirun in an allocation of Slurm.
  Variables both = step;
  both.insert({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_EQ(told(both), "Open MPI: 0 of 2 by 'mpi'");
  EXPECT_SAYS(message_of(Blame::usage,
                         [] {
                           told({{"PMI_RANK", "2"}, {"PMI_SIZE", "2"}});
                         }),
              "PMI_RANK is 2 and PMI_SIZE is 2");
  EXPECT_SAYS(message_of(Blame::usage,
                         [] {
                           told({{"PMI_RANK", "x"}, {"PMI_SIZE", "2"}});
                         }),
              "PMI_RANK is 'x'");
}

std::string refusal(const Variables& variables, const WorldOptions& options = {}) {
  const Environment set(variables);
  return message_of(Blame::usage, [&] { join_world(options); });
}

TEST(Collectives, NeverSilentlyAlone) {
  EXPECT_EQ(join_world(), nullptr);
  {
    const Environment set({{"RANK", "1"}, {"WORLD_SIZE", "2"}});
    WorldOptions none;
    none.transport = "none";
    EXPECT_EQ(join_world(none), nullptr);
  }
  if (!why_no_cuda().empty()) {
    const std::string words = refusal({{"RANK", "1"}, {"WORLD_SIZE", "2"}});
    EXPECT_SAYS(words, "torchrun says that this is rank 1 of 2");
    EXPECT_SAYS(words, "NCCL cannot be used here: no GPU: " + why_no_cuda());
    EXPECT_SAYS(words, "start them by --ranks 2");
  }
  EXPECT_SAYS(refusal({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "3"}}), "3 ranks");
  const Variables ours = {{"TAPESCOPE_RANK", "1"}, {"TAPESCOPE_RANKS", "2"}};
  EXPECT_SAYS(refusal(ours), "TAPESCOPE_WORLD_FD");
  WorldOptions options;
  options.transport = "mpi";
  EXPECT_SAYS(refusal(ours, options), "speak through 'local' and not through 'mpi'");
  EXPECT_SAYS(refusal({}, options), "nothing started this process");
  options.transport = "tcp";
  EXPECT_SAYS(refusal({}, options), "unknown transport 'tcp'");
  options.transport = "nccl";
  EXPECT_SAYS(refusal({}, options), "start it by --ranks 4, torchrun, mpirun or srun");
  if (!why_no_cuda().empty()) {
    EXPECT_SAYS(refusal(ours, options), "leave out --transport");
  }
  options = {};
  options.rank_timeout = 0;
  EXPECT_SAYS(refusal(ours, options), "time-out");
}

// MPI's libraries do not free all that they allocate, which is not ours to check.
const std::pair<std::string, std::string> kWithoutLeaks = {"ASAN_OPTIONS", "detect_leaks=0"};

// The same by mpirun; what it and the ranks print.
struct Result {
  int status = -1;
  std::string text;
};
Result by_mpirun(int ranks, const std::string& body) {
  const Environment variables({{kBody, body}, kWithoutLeaks});
  const std::string command = fmt::format(
      "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -s KILL 100 mpirun "
      "--oversubscribe -n {} /proc/{}/exe 2>&1",
      ranks, ::getpid());
  Result result;
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  char part[4096];
  while (const std::size_t got = std::fread(part, 1, sizeof part, pipe))
    result.text.append(part, got);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}
// Or killed: mpirun of Open MPI 4.1 may wait for itself for ever where a rank failed, in
// PMIx_server_finalize, when all ranks have ended.
bool ended_with(const Result& result, int status) {
  return result.status == status || result.status == 128 + SIGKILL;
}
// Empty, or why there is nothing to try.
std::string why_no_mpirun() {
#if defined(__SANITIZE_THREAD__)
  return "MPI has threads that ThreadSanitizer knows nothing of";
#endif
  if (!why_no_mpi().empty()) return why_no_mpi();
  return has_mpirun() ? "" : "no mpirun of Open MPI (openmpi-bin)";
}
#define SKIP_WITHOUT_MPI() \
  if (const std::string why = why_no_mpirun(); !why.empty()) GTEST_SKIP() << why

TEST(CollectivesByMpi, ProcessesAsRanks) {
  SKIP_WITHOUT_MPI();
  for (const int ranks : {2, 4}) {
    const Result result = by_mpirun(ranks, "everything");
    EXPECT_EQ(result.status, 0) << result.text;
  }
}

TEST(CollectivesByMpi, NoneIsLeftWhereOneEnds) {
  SKIP_WITHOUT_MPI();
  EXPECT_EQ(by_mpirun(4, "one_is_killed").status, 128 + SIGKILL);
  const Result failed = by_mpirun(4, "one_fails");
  EXPECT_TRUE(ended_with(failed, 1)) << failed.status;
  EXPECT_SAYS(failed.text, "the disk of rank 1 is full\n");
}

TEST(CollectivesByMpi, ASilentRankEndsAll) {
  SKIP_WITHOUT_MPI();
  const Result result = by_mpirun(4, "one_stops");
  EXPECT_NE(result.status, 0);  // the ranks found what they expected, and left by MPI_Abort
  EXPECT_EQ(result.text.find("expected"), std::string::npos) << result.text;
}

TEST(CollectivesByMpi, OtherLengthsAndNumbersAreRefused) {
  SKIP_WITHOUT_MPI();
  const Result result = by_mpirun(2, "another_length");
  EXPECT_TRUE(ended_with(result, 1)) << result.status;
  EXPECT_SAYS(result.text, "[all_reduce] rank ");
  EXPECT_SAYS(result.text, "cannot speak with rank ");
  EXPECT_SAYS(result.text, "it is at another call: start all ranks by the same program");
  const Result three = by_mpirun(3, "everything");
  EXPECT_TRUE(ended_with(three, 2)) << three.status;
  EXPECT_SAYS(three.text, "3 ranks: their number must be a power of two");
}

// A launcher of another MPI sets variables, and this one's library finds itself alone.
TEST(CollectivesByMpi, NeverSilentlyAlone) {
  SKIP_WITHOUT_MPI();
  const Environment variables(
      {{kBody, "everything"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "2"}, kWithoutLeaks});
  EXPECT_EQ(status_of(start({"/proc/self/exe"})), 2);
}

TEST(Collectives, TransportsSayWhyNot) {
  std::map<std::string_view, TransportInfo> found;
  for (const TransportInfo& transport : transports()) {
    EXPECT_EQ(transport.available, transport.reason.empty()) << transport.name;
    found.emplace(transport.name, transport);
  }
  EXPECT_TRUE(found.at("local").available);
  if (!why_no_cuda().empty()) {
    EXPECT_EQ(found.at("nccl").reason, "no GPU: " + why_no_cuda());
  }
  if (found.at("mpi").available) return;
  EXPECT_SAYS(refusal({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}}),
              "MPI cannot be used: " + found.at("mpi").reason);
}

TEST(Collectives, ProcessorsAreSharedInDisjointRanges) {
  const std::vector<int> five = {1, 2, 5, 8, 9};
  EXPECT_EQ(share_of(five, 0, 2), (std::vector<int>{1, 2}));
  EXPECT_EQ(share_of(five, 1, 2), (std::vector<int>{5, 8, 9}));
  EXPECT_EQ(share_of(five, 0, 1), five);
  EXPECT_EQ(share_of(five, 7, 8), (std::vector<int>{5}));
}

}  // namespace
}  // namespace tapescope
