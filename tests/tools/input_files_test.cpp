// What a command reads is known by whatever name it is called again.
#include "tools/files/input_files.h"

#include <gtest/gtest.h>

#include "tests/tools/temporary_folder.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

class Inputs : public ::testing::Test {
 protected:
  void SetUp() override {
    put(folder_ / "data/a.png", std::string("picture"));
    put(folder_ / "other.png", std::string("another"));
  }
  TemporaryFolder folder_;
  InputFiles inputs_;
};

TEST_F(Inputs, AreKnownByEveryNameOfTheSameFile) {
  inputs_.add(folder_ / "data/a.png");
  fs::create_symlink(folder_ / "data/a.png", folder_ / "link.png");
  fs::create_hard_link(folder_ / "data/a.png", folder_ / "hard.png");
  fs::create_directory_symlink(folder_ / "data", folder_ / "same");
  const std::string message =
      usage_message([&] { inputs_.expect_apart("--video", folder_ / "data/../data/./a.png"); });
  EXPECT_NE(message.find("--video"), std::string::npos) << message;
  EXPECT_NE(message.find("a.png"), std::string::npos) << message;
  for (const char* name : {"link.png", "hard.png", "same/a.png"}) {
    EXPECT_FALSE(usage_message([&] { inputs_.expect_apart("--out", folder_ / name); }).empty());
  }
}

TEST_F(Inputs, LetEverythingElseBeWritten) {
  inputs_.add(folder_ / "data");
  inputs_.add(folder_ / "not there");
  EXPECT_NO_THROW(inputs_.expect_apart("--out", folder_ / "other.png"));
  EXPECT_NO_THROW(inputs_.expect_apart("--out", folder_ / "new.png"));
  EXPECT_NO_THROW(inputs_.expect_apart("--out", folder_ / "data"));  // a folder is no file
}

TEST_F(Inputs, OfAFolderAreAllThatIsBelowIt) {
  put(folder_ / "data/deep/er/b.txt", std::string("label"));
  fs::create_directory_symlink(folder_ / "data", folder_ / "data/deep/round");  // endless
  inputs_.add(folder_ / "data");
  EXPECT_FALSE(usage_message([&] {
                 inputs_.expect_apart("--out", folder_ / "data/deep/er/b.txt");
               }).empty());
  const auto texts = [](const std::string& name) { return name.ends_with(".txt"); };
  EXPECT_FALSE(usage_message([&] {
                 inputs_.expect_apart("--out", folder_ / "data/deep/er", texts);
               }).empty());
  EXPECT_NO_THROW(inputs_.expect_apart("--out", folder_ / "data", texts));
}

}  // namespace
}  // namespace tapescope
