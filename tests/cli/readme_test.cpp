// The README's commands, as printed and in their order, in a folder where what they name is there
// and small.
#include <algorithm>
#include <array>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// Indented lines, continued ones put together.
std::vector<std::string> commands_of(const std::string& page) {
  std::ifstream file(page);
  std::vector<std::string> commands;
  bool goes_on = false;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("    ")) continue;
    const std::string text = line.substr(line.find_first_not_of(' '));
    goes_on ? commands.back() += text : commands.emplace_back(text);
    goes_on = text.ends_with("\\");
    if (goes_on) commands.back().pop_back();
  }
  return commands;
}

class Readme : public testing::Test {
 protected:
  // In the folder, with this build's program as `tapescope`.
  int sh(const std::string& command) {
    const fs::path bin = folder / "bin";
    fs::create_directories(bin);
    if (!fs::exists(bin / "tapescope")) fs::create_symlink(binary(), bin / "tapescope");
    const std::string line = "cd '" + folder.path().string() + "' && PATH='" + bin.string() +
                             "':$PATH && export PATH && " + command + " >log 2>&1";
    return std::system(line.c_str());
  }
  void expect(const std::string& command) {
    EXPECT_EQ(sh(command), 0) << command << "\n" << text_of(folder / "log");
  }
  // Pictures of three classes, a picture, a net of an ONNX file, and weights for a backbone.
  void furnish() {
    expect("tapescope synthesize --out shapes --train 24 --test 4 --size 64");
    fs::copy(folder / "shapes/images/train", folder / "PHOTOS", fs::copy_options::recursive);
    fs::copy(fs::directory_iterator(folder / "PHOTOS/circle")->path(), folder / "picture.jpg");
    fs::copy(std::string(TAPESCOPE_SOURCE_DIR) + "/tests/fixtures/onnx/residual-new.onnx",
             folder / "net.onnx");
    expect(
        "tapescope train --data PHOTOS --test-fraction 0.25 --model tf_efficientnet_lite0 "
        "--image-size 32"
        " --epochs 1 --out base");
    fs::copy(folder / "base/checkpoints/last.safetensors",
             folder / "efficientnet-lite0.safetensors");
  }
  TemporaryFolder folder;
};

TEST_F(Readme, ItsCommandsRunAsPrinted) {
  // Run elsewhere: the page's end says where.
  constexpr std::array kElsewhere = {"tools/quickstart", "tools/test",
                                     "tools/fetch-weights efficientnet-lite0"};
  const std::vector<std::string> commands =
      commands_of(std::string(TAPESCOPE_SOURCE_DIR) + "/README.md");
  furnish();
  if (HasFailure()) return;
  int run = 0;
  for (const std::string& command : commands) {
    if (command.starts_with("tapescope ")) {
      ++run;
      expect(command);
    } else if (command.find("->") == std::string::npos && !command.starts_with("evaluates it")) {
      // The table of folders and a sentence aside.
      EXPECT_TRUE(std::any_of(kElsewhere.begin(), kElsewhere.end(),
                              [&](const char* known) { return command.starts_with(known); }))
          << command << ": nothing runs this";
    }
  }
  EXPECT_GE(run, 10);
  for (const char* made : {"tape.svg", "report.html", "maps/sheet.png", "runs/mine/metrics.json",
                           "runs/tuned/metrics.json"}) {
    EXPECT_TRUE(fs::exists(folder / made)) << made;
  }
}

TEST_F(Readme, IsAScreenAndItsLinksLeadSomewhere) {
  const std::string root = TAPESCOPE_SOURCE_DIR, page = text_of(root + "/README.md");
  EXPECT_LE(std::count(page.begin(), page.end(), '\n'), 150);
  for (std::size_t at = 0; (at = page.find("](", at)) != std::string::npos; at += 2) {
    std::string link = page.substr(at + 2, page.find(')', at) - at - 2);
    link = link.substr(0, link.find('#'));
    EXPECT_TRUE(fs::exists(root + "/" + link)) << link;
  }
}

}  // namespace
}  // namespace tapescope
