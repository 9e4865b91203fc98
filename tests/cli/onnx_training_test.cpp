// `train --model FILE.onnx`: the net of a file learns on, and its run stands without the file.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"
#include "tests/says.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class OnnxTraining : public testing::Test {
 protected:
  void SetUp() override {
    write_colours(folder / "data");
    fs::copy(fixture("onnx/residual-old.onnx"), file());  // 16x16, three channels, five classes
    const Result read = tapescope_program({"predict", "--model", file(), "--raw",
                                           fixture("onnx/picture.npy").string(), "--out",
                                           (folder / "raw").string()});
    if (read.err.find("which this build does not read") != std::string::npos) {
      GTEST_SKIP() << read.err;
    }
  }
  std::string file() const { return folder / "net.onnx"; }
  std::string data() const { return folder / "data"; }
  std::string run(const std::string& name) const { return folder / name; }
  Words command(const std::string& out, const Words& more = {}) const {
    Words words{"train",        "--data", data(),         "--model", file(),  "--epochs", "2",
                "--batch-size", "4",      "--preprocess", "data",    "--out", run(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void expect_same(const std::string& a, const std::string& b) const {
    for (const char* name : {"checkpoints/initial.safetensors", "checkpoints/last.safetensors",
                             "checkpoints/best.safetensors", "model.onnx"}) {
      EXPECT_TRUE(get(fs::path(run(a)) / name) == get(fs::path(run(b)) / name)) << name;
    }
  }
  TemporaryFolder folder;
};

TEST_F(OnnxTraining, TheRunStandsWithoutTheFile) {
  const Result trained = tapescope_program(command("run", {"--epochs", "8"}));
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_SAYS(trained.err, "answers 5 classes, the data has 2: its last layer is drawn anew");
  EXPECT_SAYS(trained.err, "no batch norm is left in it");
  EXPECT_LT(fs::file_size(run("run") + "/model.onnx"), fs::file_size(file()) / 2);
  fs::remove(file());
  const std::string picture = data() + "/test/red/22.png";
  const Result evaluated =
      tapescope_program({"eval", "--run", run("run"), "--data", data(), "--json"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_EQ(json::parse(evaluated.out)["accuracy"],
            json::parse(text_of(run("run") + "/metrics.json"))["test_accuracy"]);
  EXPECT_GE(json::parse(evaluated.out)["accuracy"], 0.9);
  for (const Words& words :
       {Words{"predict", "--run", run("run"), picture},
        Words{"explain", "--run", run("run"), picture, "--score", "--out", run("maps")},
        Words{"inspect", "structure", "--run", run("run")},
        Words{"inspect", "parameters", "--run", run("run")},
        Words{"inspect", "training", "--run", run("run")},
        Words{"inspect", "activations", "--run", run("run"), "--data", data()},
        Words{"inspect", "tape", "--run", run("run"), "--gradient"},
        Words{"report", "--run", run("run"), "--data", data(), "--out", run("page.html")},
        Words{"verify-run", run("run")}}) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 0) << words[0] << " " << words[1] << ": " << result.err;
  }
}

TEST_F(OnnxTraining, GoesOnBitForBitWithoutTheFile) {
  ASSERT_EQ(tapescope_program(command("whole", {"--epochs", "12"})).status, 0);
  Process process(command("part", {"--epochs", "12", "--checkpoint-every", "1"}));
  for (int i = 0; i < 3000; ++i) {
    if (fs::exists(run("part") + "/checkpoints/last.safetensors")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGINT);
  ASSERT_EQ(process.wait().status, 130);
  fs::remove(file());
  const Result resumed = tapescope_program({"train", "--resume", "--out", run("part")});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  expect_same("whole", "part");
}

// Nothing is drawn where the classes are as many: the net begins as the file has it.
TEST_F(OnnxTraining, BeginsWithTheValuesOfTheFile) {
  for (int i = 0; i < 12; ++i) {
    for (const auto& [split, colour] : {std::pair{"train", "red"}, {"test", "blue"}}) {
      const fs::path to = folder / fmt::format("five/{}/c{}/{}.png", split, i % 5, i);
      fs::create_directories(to.parent_path());
      fs::copy(data() + fmt::format("/train/{}/{}.png", colour, 10 + i), to);
    }
  }
  const Result trained =
      tapescope_program({"train", "--data", folder / "five", "--model", file(), "--epochs", "1",
                         "--preprocess", "imagenet", "--out", run("run")});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_EQ(trained.err.find("drawn anew"), std::string::npos) << trained.err;
  std::ofstream(folder / "names.txt") << "c0\nc1\nc2\nc3\nc4\n";
  const std::string picture = data() + "/test/red/22.png";
  // Pictures of the run's size are neither cropped nor resized where the file is asked.
  const Result ours = tapescope_program(
      {"predict", "--run", run("run"), "--checkpoint", "initial", picture, "--json"});
  const Result theirs = tapescope_program(
      {"predict", "--model", file(), picture, "--json", "--mean", "0.485,0.456,0.406", "--std",
       "0.229,0.224,0.225", "--resize", "18", "--class-names", (folder / "names.txt").string()});
  ASSERT_EQ(ours.status, 0) << ours.err;
  ASSERT_EQ(theirs.status, 0) << theirs.err;
  EXPECT_EQ(json::parse(ours.out)["images"][0]["top"], json::parse(theirs.out)["images"][0]["top"]);
}

TEST_F(OnnxTraining, WhatCannotBeIsSaid) {
  const auto refused = [&](const Words& more, const std::string& part) {
    Words words{"train", "--data", data(), "--model", file(), "--epochs", "1", "--out", run("r")};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, part);
  };
  refused({}, "give --preprocess imagenet");
  refused({"--preprocess", "data", "--image-size", "32"}, "takes pictures of 16x16");
  refused({"--preprocess", "data", "--width", "0.5"}, "--width 0.5");
  refused({"--preprocess", "data", "--model", run("none.onnx")}, "cannot be read");
  ASSERT_EQ(tapescope_program(command("run")).status, 0);
  const auto opened = [&] {
    return tapescope_program({"eval", "--run", run("run"), "--data", data()});
  };
  const fs::path graph = run("run") + "/model.onnx";
  put(graph, text_of(graph) + " ");
  const Result changed = opened();
  EXPECT_EQ(changed.status, 2);
  EXPECT_SAYS(changed.err, "is not the graph that it was trained with");
  fs::remove(graph);
  const Result gone = opened();
  EXPECT_EQ(gone.status, 2);
  EXPECT_SAYS(gone.err, "its graph lies beside it and cannot be had");
}

}  // namespace
}  // namespace tapescope
