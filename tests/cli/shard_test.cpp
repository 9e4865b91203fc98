// `tapescope shard`, and training on what it makes, as a user runs them.
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"
#include "tests/says.h"
#include "tools/data/tar_index.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

class ShardProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    if (tar_library().empty()) GTEST_SKIP() << "this build has no libarchive";
    write_colours(folder_ / "data");
    const Result made = tapescope_program({"shard", "--data", at("data"), "--out", at("shards")});
    ASSERT_EQ(made.status, 0) << made.err;
    EXPECT_SAYS(made.out, "train             24        1");
    EXPECT_SAYS(made.out, "next: tapescope train --data " + at("shards"));
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  Words train(const std::string& data, const std::string& out, const Words& more = {}) const {
    Words words{"train",   "--data", at(data),   "--model", "lenet",
                "--width", "0.25",   "--epochs", "3",       "--batch-size",
                "4",       "--lr",   "0.02",     "--out",   at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // Bytes of all tensors.
  std::string parameters(const std::string& run) const {
    std::string all;
    SafetensorsFile file(folder_ / run / "checkpoints/last.safetensors");
    for (const auto& entry : file.entries()) {
      const Tensor tensor = file.read(entry);
      all += entry.name;
      all.append(static_cast<const char*>(tensor.data()), tensor.bytes());
    }
    return all;
  }
  TemporaryFolder folder_;
};

TEST_F(ShardProgram, TrainsAsOnTheFolderBitForBit) {
  ASSERT_EQ(tapescope_program(train("data", "a")).status, 0);
  for (const Words& more :
       {Words{}, Words{"--threads", "1", "--loader-threads", "3"}, Words{"--cache", "memory"},
        Words{"--on-bad-image", "skip"}, Words{"--ranks", "2"}, Words{"--ranks", "4"}}) {
    fs::remove_all(folder_ / "b");
    const Result trained = tapescope_program(train("shards", "b", more));
    ASSERT_EQ(trained.status, 0) << trained.err;
    EXPECT_EQ(parameters("a"), parameters("b"));
  }
  const auto eval = [&](const std::string& run, const std::string& data) {
    const Result result =
        tapescope_program({"eval", "--run", at(run), "--data", at(data), "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    json answer = json::parse(result.out);
    return std::pair(answer["images"].get<int>(), answer["loss"].get<double>());
  };
  const auto own = eval("a", "data");
  EXPECT_EQ(own.first, 8);
  for (const char* run : {"a", "b"}) {
    for (const char* data : {"data", "shards"}) EXPECT_EQ(eval(run, data), own) << run << data;
  }
  for (const Words& words :
       {Words{"verify-run", at("b")},
        Words{"report", "--run", at("b"), "--data", at("shards"), "--out", at("r.html")},
        Words{"inspect", "activations", "--run", at("b"), "--data", at("shards")}}) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 0) << words[0] << result.err;
    EXPECT_EQ(result.out.find("is gone"), std::string::npos) << result.out;
  }
  // Other pictures in a shard.
  write_colours(folder_ / "others", 28);
  ASSERT_EQ(tapescope_program({"shard", "--data", at("others"), "--out", at("more")}).status, 0);
  fs::copy_file(at("more/train/000000.tar"), at("shards/train/000000.tar"),
                fs::copy_options::overwrite_existing);
  EXPECT_SAYS(tapescope_program({"verify-run", at("b")}).out,
              "data: train/000000.tar was written since");
}

TEST_F(ShardProgram, AStoppedTrainingGoesOnBitForBit) {
  const Words more{"--epochs", "40", "--checkpoint-every", "1"};
  ASSERT_EQ(tapescope_program(train("data", "whole", {"--epochs", "40"})).status, 0);
  Process process(train("shards", "part", more));
  for (int i = 0; i < 3000 && !fs::exists(folder_ / "part/checkpoints/last.safetensors"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGINT);
  const Result stopped = process.wait();
  ASSERT_TRUE(stopped.status == 130 || stopped.status == 0) << stopped.err;
  const Result resumed = tapescope_program({"train", "--resume", "--out", at("part")});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(parameters("whole"), parameters("part"));
}

TEST_F(ShardProgram, SaysWhatIsWrong) {
  const auto expect_refused = [&](const Words& words, const std::string& sentence) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, sentence);
  };
  expect_refused({"shard", "--data", at("data"), "--out", at("shards")}, "not empty");
  expect_refused({"shard", "--data", at("data"), "--out", at("x"), "--shard-size", "0"},
                 "--shard-size");
  expect_refused({"shard", "--data", at("data/test/red"), "--out", at("x")}, "no class folders");
  EXPECT_FALSE(fs::exists(folder_ / "x"));
  const fs::path tar = folder_ / "shards/train/000000.tar";
  fs::resize_file(tar, fs::file_size(tar) - 3000);
  expect_refused(train("shards", "run"), "000000.tar: is ");
  expect_refused(train("shards", "run"), "--on-bad-image skip");
  const Result skipped = tapescope_program(train("shards", "run", {"--on-bad-image", "skip"}));
  EXPECT_EQ(skipped.status, 0) << skipped.err;
  EXPECT_SAYS(skipped.err, "left out: ");
  Words several = train("shards", "labels", {"--task", "multi-label"});
  expect_refused(several, "labels.csv");
}

}  // namespace
}  // namespace tapescope
