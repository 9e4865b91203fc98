// `tapescope train --memory-limit`: the bits of a training without it, or a refusal that leaves
// nothing behind.
#include "tests/cli/ranks_training.h"
#include "tests/says.h"

namespace tapescope {
namespace {

class MemoryLimit : public TrainingOfRanks {
 protected:
  static Words limited(const std::string& out, std::int64_t bytes) {
    return resnet20(out, 30) + Words{"--memory-limit", std::to_string(bytes)};
  }
  static json plan(const Words& words) {
    const Result result = tapescope_program(words + Words{"--plan", "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
  }
};

TEST_F(MemoryLimit, ChangesNoBitWhicheverARunIsResumedWith) {
  const std::int64_t planned = plan(resnet20("whole", 30))["planned_bytes"];
  const std::int64_t limit = planned * 9 / 10, smaller = planned * 17 / 20;
  EXPECT_LE(plan(limited("part", limit))["planned_bytes"], limit);
  // What the text says of it is in the JSON, too.
  const Result words = tapescope_program(limited("part", limit) + Words{"--plan"});
  const json told = plan(limited("part", limit)), without = plan(resnet20("whole", 30));
  EXPECT_SAYS(
      words.out,
      fmt::format("memory: {:.1f} MB planned without a limit; {} values are computed again, "
                  "{:.1f} MB, +{:.1f} % FLOP",
                  static_cast<double>(planned) / 1e6, told["recomputed_values"].get<int>(),
                  told["recomputed_bytes"].get<double>() / 1e6,
                  100 * told["recomputed_flops_fraction"].get<double>()));
  EXPECT_EQ(told["memory_limit_bytes"], limit);
  EXPECT_EQ(told["unlimited_bytes"], planned);
  EXPECT_TRUE(without["memory_limit_bytes"].is_null());
  EXPECT_EQ(without["unlimited_bytes"], planned);
  EXPECT_EQ(without["recomputed_values"], 0);
  expect_trained(resnet20("whole", 30));

  stop_when_begun(limited("part", limit), "part");
  const Result resumed = tapescope_program(
      {"train", "--resume", "--out", at("part"), "--memory-limit", std::to_string(smaller)});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_SAYS(resumed.err, "computed again, ");
  expect_same_run("whole", "part");
  const json metrics = json::parse(file("part", "metrics.json"));
  EXPECT_LE(metrics["planned_bytes"], smaller);
  // What is measured, pictures and whatever else is no part of a plan included.
  EXPECT_NEAR(metrics["peak_bytes"].get<double>() / metrics["planned_bytes"].get<double>(), 1, 0.1);
}

TEST_F(MemoryLimit, ThatIsTooSmallIsRefusedBeforeAnythingIsWritten) {
  const Result refused = tapescope_program(limited("none", 1'000'000));
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_SAYS(refused.err, "--memory-limit 1.0 MB: the least that ");
  EXPECT_SAYS(refused.err, "; no --batch-size fits; ");  // parameters alone take more
  for (const char* file : {"config.toml", "checkpoints"}) {
    EXPECT_FALSE(fs::exists(at("none") + "/" + file)) << file;
  }
  // What it says is enough.
  const std::string remedy = "--memory-limit ", end = " is enough";
  const std::size_t from = refused.err.rfind(remedy) + remedy.size(), to = refused.err.rfind(end);
  ASSERT_LT(from, to) << refused.err;
  expect_trained(resnet20("enough", 1) +
                 Words{"--memory-limit", refused.err.substr(from, to - from)});
}

TEST_F(MemoryLimit, ThatIsNoneIsRefused) {
  const Result refused = tapescope_program(resnet20("none", 1) + Words{"--memory-limit", "2GiB"});
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_SAYS(refused.err, "--memory-limit is '2GiB'; it must be ");
}

}  // namespace
}  // namespace tapescope
