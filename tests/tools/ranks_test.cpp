// Starting, watching and ending the processes of one training.
#include "tools/training/ranks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kernels/collectives/rank_ended.h"
#include "kernels/collectives/world.h"
#include "tests/says.h"
#include "tests/tools/temporary_folder.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
constexpr const char* kName = "a rank of ranks_test";

// A rank's program, as a command would be: TAPESCOPE_TEST_RANK says what it does, in FOLDER.
int act(const std::string& what, const fs::path& folder) {
  const auto ranks = join_world();
  const int rank = ranks->rank();
  std::ofstream(folder / std::to_string(rank)) << ::getpid() << std::flush;
  fmt::print("rank {} on stdout\n", rank);
  std::fflush(stdout);
  ranks->barrier();
  if (what == "fails" && rank == 1) throw failure("the disk of rank 1 is full");
  if (what == "refuses" && rank == 2) throw usage_error("a file of rank 2 is no picture");
  if (what == "all refuse") throw usage_error("no such option");
  if (what == "is killed" && rank == 1) ::raise(SIGKILL);
  if (what == "leaves" && rank == 1) return 0;
  if (what == "caught") {
    static volatile std::sig_atomic_t signalled = 0;
    signalled = 0;
    ::signal(SIGTERM, [](int) { signalled = 1; });
    std::ofstream(folder / ("ready" + std::to_string(rank))) << "" << std::flush;
    while (signalled == 0) ::usleep(1000);
    ranks->barrier();
    return 130;
  }
  if (what == "stays") {
    std::ofstream(folder / ("ready" + std::to_string(rank))) << "" << std::flush;
    for (;;) ::pause();
  }
  if (what == "stuck") {
    if (rank == 1) throw failure("rank 1 cannot go on");
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
  }
  for (int i = 0; i < 100; ++i) ranks->barrier();
  return 0;
}

// Before the tests' main: such a process runs none.
const bool kIsNoRank = [] {
  const char* const what = std::getenv("TAPESCOPE_TEST_RANK");
  if (what == nullptr || !watched_by_launcher()) return true;
  int status = 1;
  try {
    status = act(what, std::getenv("TAPESCOPE_TEST_FOLDER"));
  } catch (const RankEnded&) {
    status = kOtherRankEnded;
  } catch (const Error& error) {
    fmt::print(stderr, "tapescope: {}\n", error.what());
    status = error.blame() == Blame::usage ? 2 : 1;
  }
  ::_exit(status);
}();

class Ranks : public ::testing::Test {
 protected:
  // run_ranks in a process of its own, whose stdout and stderr go to files.
  pid_t start(const std::string& what, int ranks, double grace = 10) {
    const pid_t launcher = ::fork();
    if (launcher != 0) return launcher;
    for (const auto& [name, to] :
         {std::pair{"out", STDOUT_FILENO}, std::pair{"err", STDERR_FILENO}}) {
      ::dup2(::open((folder_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), to);
    }
    ::setenv("TAPESCOPE_TEST_RANK", what.c_str(), 1);
    ::setenv("TAPESCOPE_TEST_FOLDER", fs::path(folder_ / "").c_str(), 1);
    RanksRequest request;
    request.ranks = ranks;
    request.arguments = {kName};
    request.grace_seconds = grace;
    request.last_checkpoint = [] { return "RUN/checkpoints/last"; };
    int status = 99;
    try {
      status = run_ranks(request);
    } catch (const Error& error) {
      ::dprintf(STDERR_FILENO, "launcher: %s\n", error.what());
      status = error.blame() == Blame::usage ? 2 : 1;
    }
    ::_exit(status);
  }
  static int status_of(pid_t process) {
    int status = 0;
    ::waitpid(process, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string text(const std::string& name) const {
    std::ifstream file(folder_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void wait_for(const std::string& name) const {
    while (!fs::exists(folder_ / name)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void expect_none_left(int ranks) const {
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t process = std::stoi(text(std::to_string(rank)));
      EXPECT_EQ(::kill(process, 0), -1) << "rank " << rank << " is left";
    }
  }
  TemporaryFolder folder_;
};

TEST_F(Ranks, OnlyTheFirstSpeaks) {
  EXPECT_EQ(status_of(start("work", 4)), 0);
  EXPECT_EQ(text("out"), "rank 0 on stdout\n");
  EXPECT_EQ(text("err"), "");
  expect_none_left(4);
}

TEST_F(Ranks, OneThatFailsIsToldOnce) {
  EXPECT_EQ(status_of(start("fails", 4)), 1);
  EXPECT_SAYS(text("err"), "launcher: rank 1 of 4 (process ");
  EXPECT_SAYS(text("err"),
              "ended with exit status 1: the disk of rank 1 is full; the last "
              "checkpoint is RUN/checkpoints/last");
  EXPECT_EQ(text("err").find('\n'), text("err").size() - 1) << text("err");
  expect_none_left(4);
}

TEST_F(Ranks, AnErrorOfTheUsersIsTwo) {
  EXPECT_EQ(status_of(start("refuses", 4)), 2);
  EXPECT_SAYS(text("err"), "a file of rank 2 is no picture");
  EXPECT_EQ(status_of(start("all refuse", 4)), 2);
  EXPECT_SAYS(text("err"), "no such option");
  EXPECT_EQ(text("err").find('\n'), text("err").size() - 1) << text("err");
}

TEST_F(Ranks, OneThatIsKilledIsNamed) {
  EXPECT_EQ(status_of(start("is killed", 2)), 1);
  EXPECT_SAYS(text("err"), "launcher: rank 1 of 2 (process ");
  EXPECT_SAYS(text("err"), "was killed by signal 9 (Killed)");
  EXPECT_SAYS(text("err"), "RUN/checkpoints/last");
  EXPECT_EQ(text("err").find('\n'), text("err").size() - 1) << text("err");
  expect_none_left(2);
}

TEST_F(Ranks, OneThatLeavesBeforeTheOthersIsNamed) {
  EXPECT_EQ(status_of(start("leaves", 2)), 1);
  EXPECT_SAYS(text("err"), "rank 1 of 2");
  EXPECT_SAYS(text("err"), "ended with exit status 0");
}

TEST_F(Ranks, OnesThatDoNotListenAreKilled) {
  EXPECT_EQ(status_of(start("stuck", 4, 0.2)), 1);
  EXPECT_SAYS(text("err"), "rank 1 cannot go on");
  expect_none_left(4);
}

TEST_F(Ranks, SignalsArePassedOn) {
  const pid_t caught = start("caught", 2);
  for (const char* name : {"ready0", "ready1"}) wait_for(name);
  ::kill(caught, SIGTERM);
  EXPECT_EQ(status_of(caught), 130);
  EXPECT_EQ(text("err"), "");
  expect_none_left(2);
}

TEST_F(Ranks, ASignalThatNoneCatchesEndsAll) {
  const pid_t launcher = start("stays", 2);
  for (const char* name : {"ready0", "ready1"}) wait_for(name);
  ::kill(launcher, SIGTERM);
  EXPECT_EQ(status_of(launcher), 128 + SIGTERM);
  EXPECT_EQ(text("err"), "");
  expect_none_left(2);
}

TEST_F(Ranks, NoneOutlivesWhoStartedThem) {
  const pid_t launcher = start("stays", 2);
  for (const char* name : {"ready0", "ready1"}) wait_for(name);
  ::kill(launcher, SIGKILL);
  EXPECT_EQ(status_of(launcher), 128 + SIGKILL);
  for (const char* name : {"0", "1"}) {
    const pid_t process = std::stoi(text(name));
    // Nobody's children now: gone, a zombie (without words), or another process of that number.
    const auto lives = [&] {
      std::ifstream file("/proc/" + std::to_string(process) + "/cmdline");
      std::string word;
      std::getline(file, word, '\0');
      return word == kName;
    };
    while (lives()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_F(Ranks, TheirNumberIsAPowerOfTwo) {
  EXPECT_EQ(status_of(start("work", 3)), 2);
  EXPECT_SAYS(text("err"), "start 2 or 4");
}

}  // namespace
}  // namespace tapescope
