// `mpirun tapescope train`: the run of one process, whatever happens to the ranks and the launcher.
#include "tests/cli/ranks_training.h"
#include "tests/mpirun.h"
#include "tests/says.h"

namespace tapescope {
namespace {

class MpiRanksProgram : public TrainingOfRanks {
 protected:
  void SetUp() override {
    const fs::path library = fs::path(binary()).parent_path() / "libtapescope_mpi.so";
    if (!fs::exists(library)) GTEST_SKIP() << "there is no " << library;
    if (!has_mpirun()) GTEST_SKIP() << "no mpirun of Open MPI (openmpi-bin)";
  }
  // Not movable: made where it is returned.
  static Process mpirun(int ranks, const Words& words) {
    const Words own = {"--oversubscribe", "--allow-run-as-root", "-n", std::to_string(ranks),
                       binary()};
    return Process(own + words, {}, "mpirun");
  }
  // Where a rank was killed, mpirun of Open MPI 4.1 may wait for itself for ever, in
  // PMIx_server_finalize: its ranks have ended, and it is ended too.
  static Result end_of(Process& mpirun, const std::vector<pid_t>& ranks) {
    if (!mpirun.ends_within(45)) {
      EXPECT_EQ(left_of(ranks), std::vector<pid_t>{});
      mpirun.signal(SIGKILL);
    }
    return mpirun.wait();
  }
  static void expect_trained_by(int ranks, const Words& words) {
    const Result result = mpirun(ranks, words).wait();
    ASSERT_EQ(result.status, 0) << result.err;
  }
};

TEST_F(MpiRanksProgram, AClassifierIsThatOfOneProcess) {
  expect_trained(resnet20("one", 8));
  for (const int ranks : {2, 4}) {
    const std::string run = "mpi" + std::to_string(ranks);
    expect_trained_by(ranks, resnet20(run, 8));
    expect_same_run("one", run);
    expect_same_history("one", run);
  }
  const Result verified = tapescope_program({"verify-run", at("mpi4")});
  EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
}

TEST_F(MpiRanksProgram, ADetectorIsThatOfOneProcess) {
  expect_trained(detector("found by one", 4));
  for (const int ranks : {2, 4}) {
    const std::string run = "found by mpi" + std::to_string(ranks);
    expect_trained_by(ranks, detector(run, 4));
    expect_same_run("found by one", run);
    expect_same_history("found by one", run);
  }
}

// At any moment, a rank or the launcher: non-zero exit, none left, and others go on to the same
// end.
TEST_F(MpiRanksProgram, WhoIsKilledTakesTheOthersAlongAndNoWork) {
  const int kills = std::getenv("TAPESCOPE_FULL") != nullptr ? 30 : 4;
  expect_trained(resnet20("uninterrupted", 24) + Words{"--checkpoint-every", "3"});
  PhiloxStream random(17);
  Words words = resnet20("killed", 24) + Words{"--checkpoint-every", "3"};
  for (int k = 0; k < kills; ++k) {
    SCOPED_TRACE(k);
    const int ranks = k % 2 == 0 ? 4 : 2;
    Process process = mpirun(ranks, words + Words{"--rank-timeout", "60"});
    const std::vector<pid_t> children =
        ranks_of(process, static_cast<std::size_t>(ranks), "killed");
    ASSERT_EQ(children.size(), static_cast<std::size_t>(ranks));
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(1000)));
    const std::size_t victim = random.below(static_cast<std::uint32_t>(ranks));
    ::kill(k % 4 == 3 ? process.pid() : children[victim], SIGKILL);
    const Result result = end_of(process, children);
    EXPECT_EQ(left_of(children), std::vector<pid_t>{});
    words = {"train", "--resume", "--out", at("killed")};
    if (result.status == 0) break;  // it was at its end
  }
  expect_trained({"train", "--resume", "--out", at("killed"), "--ranks", "2"});
  expect_same_run("uninterrupted", "killed");
  expect_same_history("uninterrupted", "killed");
}

TEST_F(MpiRanksProgram, ARankThatSaysNothingEndsAllAfterTheTimeOut) {
  Process process = mpirun(2, resnet20("silent", 4000) + Words{"--rank-timeout", "3"});
  const std::vector<pid_t> children = ranks_of(process, 2, "silent");
  ASSERT_EQ(children.size(), 2u);
  ::kill(children[1], SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_EQ(left_of(children, 30), std::vector<pid_t>{});
  const Result result = end_of(process, children);
  EXPECT_NE(result.status, 0);
  EXPECT_SAYS(result.err, "rank 0 of 2 in call ");
  EXPECT_SAYS(result.err, "has heard nothing from rank 1 for 3 s");
  EXPECT_SAYS(result.err, "(--rank-timeout)");
}

int sentences(const Result& result) {
  int count = 0;
  for (std::size_t at = 0; (at = result.err.find("tapescope: ", at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

TEST_F(MpiRanksProgram, AnErrorOfAllIsToldOnceAndThatOfOneByItself) {
  const Words nowhere = resnet20("nowhere", 1) + Words{"--data", at("nothing")};
  const Result all = mpirun(4, nowhere).wait();
  EXPECT_EQ(all.status, 2);
  EXPECT_EQ(sentences(all), 1) << all.err;
  EXPECT_SAYS(all.err, at("nothing"));
  // As where a disk is not shared: one host has the pictures.
  const Result one =
      mpirun(1, resnet20("nowhere", 1) + Words{":", "-n", "1", binary()} + nowhere).wait();
  EXPECT_EQ(one.status, 2);
  EXPECT_EQ(sentences(one), 1) << one.err;
  EXPECT_SAYS(one.err, at("nothing"));
}

}  // namespace
}  // namespace tapescope
