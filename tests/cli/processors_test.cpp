// On which processors a training runs: those that the process was given, whatever the variables of
// OpenMP say, which libgomp's constructor obeys before main() begins.
#include <sched.h>

#include "engine/processors.h"
#include "tests/cli/program.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

class Processors : public ::testing::Test {
 protected:
  void SetUp() override {
    sched_getaffinity(0, sizeof before_, &before_);
    write_colours(folder_ / "data");
  }
  void TearDown() override { sched_setaffinity(0, sizeof before_, &before_); }
  // "on processors 0-1", as a training says it.
  std::string told() {
    const Result result = tapescope_program(
        {"train", "--data", folder_ / "data", "--model", "mlp", "--width", "0.1", "--epochs", "1",
         "--image-size", "24", "--out", folder_ / ("run" + std::to_string(runs_++))});
    EXPECT_EQ(result.status, 0) << result.err;
    const std::size_t begin = result.err.find("on processor");
    if (begin == std::string::npos) return result.err;
    return result.err.substr(begin, result.err.find('\n', begin) - begin);
  }
  TemporaryFolder folder_;
  cpu_set_t before_;
  int runs_ = 0;
};

TEST_F(Processors, AreThoseOfTheProcess) {
  const std::vector<int> all = allowed_processors();
  const std::string expected =
      (all.size() == 1 ? "on processor " : "on processors ") + ranges_text(all);
  EXPECT_EQ(told(), expected);
  for (const auto& [name, value] :
       {std::pair{"GOMP_CPU_AFFINITY", "0"}, {"OMP_PROC_BIND", "true"}, {"OMP_PLACES", "{0}"}}) {
    setenv(name, value, 1);
    EXPECT_EQ(told(), expected) << name;
    unsetenv(name);
  }
}

// As taskset, a cpuset or a launcher binds it.
TEST_F(Processors, ABindingIsRespected) {
  const int last = allowed_processors().back();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const std::string expected = fmt::format("on processor {}", last);
  EXPECT_EQ(told(), expected);
  setenv("OMP_PROC_BIND", "true", 1);
  EXPECT_EQ(told(), expected);
  unsetenv("OMP_PROC_BIND");
}

TEST(RangesText, JoinsNeighbours) {
  EXPECT_EQ(ranges_text({0}), "0");
  EXPECT_EQ(ranges_text({0, 1, 2, 5}), "0-2,5");
  EXPECT_EQ(ranges_text({3, 5, 6}), "3,5-6");
}

}  // namespace
}  // namespace tapescope
