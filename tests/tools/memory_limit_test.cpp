// --memory-limit: the bits of a training without it, or an error with what would do.
#include "tools/training/memory_limit.h"

#include "tests/tools/small_training.h"

namespace tapescope {
namespace {

TEST(MemoryLimit, ChangesNoBitOfATraining) {
  Prepared prepared{.model = "resnet20", .chunks = 4};
  const Trained whole = train(prepared);
  EXPECT_EQ(whole.memory_told, "");
  // Resumed within an epoch, where other statistics are due; and by two ranks.
  prepared.memory_limit = whole.planned * 19 / 20;
  for (const std::vector<int>& ranks : {std::vector<int>{1}, std::vector<int>{1, 2}}) {
    const Trained limited = train(prepared, {7}, ranks);
    EXPECT_LE(limited.planned, prepared.memory_limit);
    expect_equal(whole, limited);
    EXPECT_EQ(whole.norms, limited.norms);
  }
  const Trained limited = train(prepared);
  EXPECT_NE(limited.memory_told.find(fmt::format("memory: {:.1f} MB planned without a limit; ",
                                                 static_cast<double>(whole.planned) / 1e6)),
            std::string::npos)
      << limited.memory_told;
  EXPECT_NE(limited.memory_told.find(" values are computed again, "), std::string::npos);
  EXPECT_TRUE(limited.memory_told.ends_with(" % FLOP"));
}

TEST(MemoryLimit, ThatIsTooSmallIsRefusedWithWhatWouldDo) {
  const Prepared prepared{.model = "resnet20"};
  std::string told;
  try {
    train({.model = "resnet20", .memory_limit = train(prepared).planned / 3});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::usage);
    told = error.what();
  }
  EXPECT_NE(told.find("--memory-limit "), std::string::npos) << told;
  const std::string_view remedy = "--memory-limit ";
  const std::size_t at = told.rfind(remedy);
  ASSERT_TRUE(told.ends_with(" is enough")) << told;
  const std::size_t enough = memory_limit_from(
      told.substr(at + remedy.size(), told.rfind(" is enough") - at - remedy.size()));
  EXPECT_LE(train({.model = "resnet20", .memory_limit = enough}).planned, enough);
}

TEST(MemoryLimit, IsBytesOrANumberWithALetter) {
  EXPECT_EQ(memory_limit_from(""), 0u);
  EXPECT_EQ(memory_limit_from("123456"), 123456u);
  EXPECT_EQ(memory_limit_from("64K"), 64000u);
  EXPECT_EQ(memory_limit_from("800M"), 800000000u);
  EXPECT_EQ(memory_limit_from("1.5GB"), 1500000000u);
  EXPECT_EQ(memory_limit_from("2T"), 2000000000000u);
  for (const char* wrong :
       {"0", "-1G", "G", "2 G", "2g", "nan", "inf", "1e30", "2GiB", "0x10", "\n"}) {
    EXPECT_THROW(memory_limit_from(wrong), Error) << wrong;
  }
}

}  // namespace
}  // namespace tapescope
