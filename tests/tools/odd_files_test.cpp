// Text as other machines write it, and links that lead in a ring.
#include <gtest/gtest.h>

#include "tests/tools/temporary_folder.h"
#include "tools/data/dataset.h"
#include "tools/data/picture_files.h"
#include "tools/files/folders.h"
#include "tools/files/text_file.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

std::string complaint(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.blame() == Blame::usage ? error.what() : "not a usage error";
  }
  return "nothing was wrong";
}

TEST(OddFiles, LinesEndAsAnyMachineEndsThem) {
  const TemporaryFolder folder;
  const std::vector<std::string> expected = {"a", "", "b c", "d"};
  for (const std::string& end : std::vector<std::string>{"\n", "\r\n", "\r"}) {
    put(folder / "list.txt", "a" + end + end + " b c " + end + "d");
    EXPECT_EQ(lines_of(folder / "list.txt"), expected);
    put(folder / "list.txt",
        "\xEF\xBB\xBF"
        "a" +
            end + end + "b c" + end + "d" + end + end);
    EXPECT_EQ(lines_of(folder / "list.txt"), expected);
  }
  for (const std::string& mark : std::vector<std::string>{"\xFF\xFE", "\xFE\xFF"}) {
    put(folder / "list.txt", mark + "a");
    EXPECT_NE(complaint([&] { lines_of(folder / "list.txt"); }).find("UTF-8"), std::string::npos);
    EXPECT_NE(complaint([&] { read_utf8(folder / "list.txt"); }).find("UTF-8"), std::string::npos);
  }
}

TEST(OddFiles, IdxFilesDeeperInAreSeen) {
  const TemporaryFolder folder;
  put(folder / "MNIST/raw/train-images-idx3-ubyte", std::string("x"));
  EXPECT_NE(complaint([&] { open_data(folder.path()); }).find("MNIST/raw' holds IDX files"),
            std::string::npos);
}

// Two such links in one folder are 2^40 ways through it.
TEST(OddFiles, LinksToAFolderAboveAreNamed) {
  for (const char* target : {".", "..", "../../..", "../b/../a"}) {
    const TemporaryFolder folder;
    for (const char* name : {"train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png"}) {
      fs::create_directories((folder / name).parent_path());
      write_png(folder / name, Image(8, 8, 3, static_cast<std::uint8_t>(name[6] + name[8])));
    }
    for (const char* link : {"train/a/x", "train/a/y"}) {
      fs::create_directory_symlink(target, folder / link);
    }
    for (const std::string& said : {complaint([&] { open_data(folder.path()); }),
                                    complaint([&] { picture_files({folder / "train/a"}); })}) {
      EXPECT_NE(said.find("leads back to a folder that it lies in"), std::string::npos)
          << target << ": " << said;
    }
  }
  // Links elsewhere are followed.
  const TemporaryFolder folder;
  write_png(folder / "1.png", Image(8, 8, 3));
  fs::create_directory(folder / "inner");
  fs::create_directory(folder / "other");
  write_png(folder / "other/2.png", Image(8, 8, 3));
  fs::create_directory_symlink("../other", folder / "inner/link");
  EXPECT_EQ(picture_files({folder / "inner"}).size(), 1u);
  expect_no_ring(folder / "inner/link");
  expect_no_ring(folder / "1.png");
}

}  // namespace
}  // namespace tapescope
