// `tapescope train` in several processes: the run of one, whatever happens to them.
#include "tests/cli/ranks_training.h"
#include "tests/says.h"

namespace tapescope {
namespace {

class RanksProgram : public TrainingOfRanks {};

TEST_F(RanksProgram, TwoHundredStepsOfAClassifierAreThoseOfOneProcess) {
  expect_trained(resnet20("one", 40));
  for (const char* ranks : {"2", "4"}) {
    const std::string run = std::string("ranks") + ranks;
    expect_trained(resnet20(run, 40) + Words{"--ranks", ranks});
    expect_same_run("one", run);
    expect_same_history("one", run);
  }
  const Result verified = tapescope_program({"verify-run", at("ranks4")});
  EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
}

TEST_F(RanksProgram, TwoHundredStepsOfADetectorAreThoseOfOneProcess) {
  expect_trained(detector("found by one", 34));
  for (const char* ranks : {"2", "4"}) {
    const std::string run = std::string("found by ") + ranks;
    expect_trained(detector(run, 34) + Words{"--ranks", ranks});
    expect_same_run("found by one", run);
    expect_same_history("found by one", run);
  }
}

TEST_F(RanksProgram, ASignalSavesAndOthersGoOn) {
  expect_trained(resnet20("whole", 30));
  int ranks = 4;
  Words words = resnet20("stopped", 30);
  for (const int after : {2, 4}) {  // epochs, at least
    Process process(words + Words{"--ranks", std::to_string(ranks)});
    for (int tries = 0; tries < 6000; ++tries) {
      const json told = fs::exists(at("stopped") + "/history.jsonl") ? history("stopped") : json();
      if (told.size() > 5u * static_cast<std::size_t>(after)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGTERM);
    const Result result = process.wait();
    if (result.status == 0) break;  // it was faster
    EXPECT_EQ(result.status, 130) << result.err;
    EXPECT_SAYS(result.err, "train --resume --out " + at("stopped") + " goes on from here");
    words = {"train", "--resume", "--out", at("stopped")};
    ranks /= 2;
  }
  expect_trained({"train", "--resume", "--out", at("stopped")});
  expect_same_run("whole", "stopped");
}

// At any moment: non-zero exit, one sentence, nothing left over, and others go on to the same end.
TEST_F(RanksProgram, AKilledRankEndsTheTrainingAndNoWork) {
  const int kills = std::getenv("TAPESCOPE_FULL") != nullptr ? 50 : 10;
  expect_trained(resnet20("uninterrupted", 12 * kills) + Words{"--checkpoint-every", "3"});
  PhiloxStream random(11);
  bool ended = false;
  int killed = 0;
  Words words = resnet20("killed", 12 * kills) + Words{"--checkpoint-every", "3"};
  for (int k = 0; k < kills && !ended; ++k) {
    const int ranks = k % 2 == 0 ? 4 : 2;
    Process process(words + Words{"--ranks", std::to_string(ranks), "--rank-timeout", "60"});
    const std::vector<pid_t> children =
        ranks_of(process, static_cast<std::size_t>(ranks), "killed");
    ASSERT_EQ(children.size(), static_cast<std::size_t>(ranks));
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(150)));
    const std::size_t victim = random.below(static_cast<std::uint32_t>(ranks));
    ::kill(children[victim], SIGKILL);
    const auto began = std::chrono::steady_clock::now();
    const Result result = process.wait();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    for (pid_t child : children)
      EXPECT_NE(::kill(child, 0), 0) << "process " << child << " is left";
    words = {"train", "--resume", "--out", at("killed")};
    ended = result.status == 0;  // it was at its end
    if (ended) break;
    ++killed;
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_LT(took.count(), 30);
    const std::size_t told = result.err.rfind("tapescope: ");
    ASSERT_NE(told, std::string::npos) << result.err;
    const std::string sentence = result.err.substr(told);
    EXPECT_SAYS(sentence, fmt::format("rank {}", victim));
    EXPECT_SAYS(sentence, "signal 9");
    EXPECT_SAYS(sentence, "last.safetensors");
    EXPECT_EQ(std::count(sentence.begin(), sentence.end(), '\n'), 1) << sentence;
  }
  if (!ended) expect_trained({"train", "--resume", "--out", at("killed"), "--ranks", "2"});
  EXPECT_GE(killed, kills / 2);
  expect_same_run("uninterrupted", "killed");
}

TEST_F(RanksProgram, ARankThatSaysNothingIsNamedAfterTheTimeOut) {
  Process process(resnet20("silent", 400) + Words{"--ranks", "2", "--rank-timeout", "2"});
  const std::vector<pid_t> children = ranks_of(process, 2, "silent");
  ASSERT_EQ(children.size(), 2u);
  ::kill(children[1], SIGSTOP);
  const Result result = process.wait();
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_SAYS(result.err, "rank 1");
  EXPECT_SAYS(result.err, "--rank-timeout");
  for (pid_t child : children) EXPECT_NE(::kill(child, 0), 0);
}

TEST_F(RanksProgram, ALossThatIsNotFiniteIsToldAsByOneProcess) {
  const Words words = resnet20("wild", 4) + Words{"--lr", "1e30"};
  const auto sentence = [](const Result& result) {
    EXPECT_EQ(result.status, 1) << result.err;
    const std::size_t told = result.err.rfind("tapescope: ");
    return told == std::string::npos ? result.err : result.err.substr(told);
  };
  const std::string one = sentence(tapescope_program(words));
  fs::remove_all(at("wild"));
  EXPECT_EQ(one, sentence(tapescope_program(words + Words{"--ranks", "2"})));
}

TEST_F(RanksProgram, WhatCannotBeSharedIsRefused) {
  const auto refused = [&](const Words& more, const std::string& part) {
    const Result result = tapescope_program(resnet20("refused", 1) + more);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, part);
    EXPECT_FALSE(fs::exists(at("refused") + "/history.jsonl"));
  };
  refused({"--ranks", "3"}, "3");
  refused({"--ranks", "0"}, "--ranks is 0");
  refused({"--ranks", "4", "--chunks", "2"}, "4 ranks cannot share a batch that is cut into 2");
  refused({"--chunks", "3"}, "--chunks");
  // Never silently alone.
  ::setenv("RANK", "1", 1);
  ::setenv("WORLD_SIZE", "2", 1);
  refused({}, "rank 1 of 2");
  ::unsetenv("RANK");
  ::unsetenv("WORLD_SIZE");
}

TEST_F(RanksProgram, AnotherNumberOfChunksIsAnotherTraining) {
  expect_trained(resnet20("chunks", 1));
  EXPECT_SAYS(file("chunks", "config.toml"), "chunks = 4");
  const Result result =
      tapescope_program({"train", "--resume", "--out", at("chunks"), "--chunks", "1"});
  EXPECT_EQ(result.status, 2);
  EXPECT_SAYS(result.err, "the run has chunks = 4, not 1");
}

}  // namespace
}  // namespace tapescope
