// Weights from elsewhere, as a user takes them in: listed, written anew, trained from.
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/says.h"
#include "tools/training/safetensors.h"
#include "tools/training/stored_zip.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class WeightsProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    if (zip_library().empty()) GTEST_SKIP() << "this build has no libarchive";
    write_colours(folder_ / "data");
  }
  Result train(const std::string& out, const Words& more) const {
    Words words{
        "train",    "--data", folder_ / "data", "--model", "lenet",        "--width", "0.1",
        "--epochs", "3",      "--batch-size",   "4",       "--image-size", "24",      "--lr",
        "0.02",     "--out",  folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  Safetensors model(const std::string& run, const char* which = "last") const {
    return read_safetensors(folder_ / (run + "/checkpoints/" + which + ".safetensors"));
  }
  const std::string torch_ = fixture("torch/lenet.pt");
  TemporaryFolder folder_;
};

bool same(const Safetensors& a, const Safetensors& b, const std::string& name) {
  const Tensor *x = a.find(name), *y = b.find(name);
  return x != nullptr && y != nullptr && x->type() == y->type() &&
         std::memcmp(x->data(), y->data(), x->bytes()) == 0;
}

TEST_F(WeightsProgram, AreListedAndWrittenAnew) {
  const Result text = tapescope_program({"weights", torch_});
  ASSERT_EQ(text.status, 0) << text.err;
  EXPECT_SAYS(text.out, "8 tensors");
  EXPECT_SAYS(text.out, "module.conv1.weight");
  EXPECT_SAYS(text.out, "{2, 3, 5, 5}");
  put(folder_ / "names", "module. \n");
  EXPECT_EQ(tapescope_program({"weights", torch_, "--rename", folder_ / "names"}).status, 2);
  put(folder_ / "names", "module.conv1. first.\nmodule. net.\n");
  const Result written = tapescope_program(
      {"weights", torch_, "--out", folder_ / "x.safetensors", "--rename", folder_ / "names"});
  ASSERT_EQ(written.status, 0) << written.err;
  const Safetensors file = read_safetensors(folder_ / "x.safetensors");
  const Safetensors expected = read_safetensors(fixture("torch/lenet.safetensors"));
  ASSERT_EQ(file.tensors.size(), expected.tensors.size());
  const Tensor *got = file.find("first.weight"), *want = expected.find("conv1.weight");
  ASSERT_NE(got, nullptr);
  EXPECT_EQ(std::memcmp(got->data(), want->data(), want->bytes()), 0);
  const json listed =
      json::parse(tapescope_program({"weights", folder_ / "x.safetensors", "--json"}).out);
  EXPECT_EQ(listed["tensors"].size(), 8u);
}

TEST_F(WeightsProgram, NothingThatIsReadIsWrittenOver) {
  namespace fs = std::filesystem;
  const fs::path own = folder_ / "own.pt", names = folder_ / "names", link = folder_ / "link.pt";
  fs::copy(torch_, own);
  fs::create_symlink(own, link);
  put(names, std::string("module. \n"));
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  const auto refused = [&](const fs::path& out) {
    const Result result = tapescope_program(
        {"weights", own.string(), "--rename", names.string(), "--out", out.string()});
    EXPECT_EQ(result.status, 2) << out << result.err;
    EXPECT_SAYS(result.err, "--out");
  };
  refused(own);
  refused(link);
  refused(names);
  refused(folder_ / "pipe");
  refused(folder_.path());
  refused(folder_ / "no/such/folder.safetensors");
  EXPECT_TRUE(get(own) == get(torch_));
  EXPECT_EQ(text_of(names), "module. \n");
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
  // A link to another file is followed.
  const fs::path other = folder_ / "other.safetensors", to_other = folder_ / "to-other";
  put(other, std::string("old"));
  fs::create_symlink(other, to_other);
  const Result written = tapescope_program({"weights", own.string(), "--out", to_other.string()});
  EXPECT_EQ(written.status, 0) << written.err;
  EXPECT_TRUE(fs::is_symlink(to_other));
  EXPECT_EQ(read_safetensors(other).tensors.size(), 8u);
  const Result slip = tapescope_program({"weights", own.string(), "--out", other.string(),
                                         "--model", "resnet_18", "--classes", names.string()});
  EXPECT_EQ(slip.status, 2);
  EXPECT_SAYS(slip.err, "resnet18");
}

TEST_F(WeightsProgram, BecomeAModelThatCommandsTake) {
  put(folder_ / "names", "module. \n");
  put(folder_ / "classes", "left\nright\n");
  const std::string pipeline =
      R"([{"type":"Resize","size":28,"interpolation":"bicubic"},{"type":"CenterCrop","size":[24,24]},)"
      R"({"type":"ToTensor"},{"type":"Normalize","mean":[0.5,0.5,0.5],"std":[0.2,0.2,0.2]}])";
  const auto as = [&](const std::string& name, const std::string& classes) {
    return tapescope_program({"weights", torch_, "--out", folder_ / "m.safetensors", "--model",
                              name, "--classes", folder_ / classes, "--preprocess", pipeline});
  };
  // A lenet of width 1 has other shapes: named, and nothing is written.
  const Result wide = as("lenet", "classes");
  EXPECT_EQ(wide.status, 2);
  EXPECT_SAYS(wide.err, "conv1.weight");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "m.safetensors"));
  // A model that is not known yet: written, and said.
  const Result unknown = as("net_of_tomorrow", "classes");
  ASSERT_EQ(unknown.status, 0) << unknown.err;
  EXPECT_SAYS(unknown.out, "no model 'net_of_tomorrow'");
  const Safetensors file = read_safetensors(folder_ / "m.safetensors");
  EXPECT_EQ(json::parse(file.metadata.at("tapescope.pipeline")), json::parse(pipeline));
  EXPECT_EQ(json::parse(file.metadata.at("tapescope.model"))["classes"], (json{"left", "right"}));
  // A run's own model file is one that can be named alone.
  ASSERT_EQ(train("run", {}).status, 0);
  const std::string best = folder_ / "run/checkpoints/best.safetensors";
  const std::string picture = folder_ / "data/test/blue/22.png";
  const Result by_run = tapescope_program({"predict", "--run", folder_ / "run", picture, "--json"});
  const Result by_file = tapescope_program({"predict", "--run", best, picture, "--json"});
  ASSERT_EQ(by_file.status, 0) << by_file.err;
  EXPECT_EQ(by_file.out, by_run.out);
}

TEST_F(WeightsProgram, AProbeKeepsEveryByteOfTheBody) {
  const Result probe = train("probe", {"--weights", torch_, "--train-only", "head"});
  ASSERT_EQ(probe.status, 0) << probe.err;
  EXPECT_SAYS(probe.err, "prefix 'module.'");
  EXPECT_SAYS(probe.err, "2 parameters are trained, 6 frozen");
  EXPECT_SAYS(probe.err, "are computed once");
  const Safetensors theirs = read_safetensors(fixture("torch/lenet.safetensors"));
  for (const char* name : {"conv1.weight", "conv1.bias", "conv2.weight", "fc1.weight"}) {
    EXPECT_TRUE(same(model("probe"), theirs, name)) << name;
  }
  EXPECT_FALSE(same(model("probe"), theirs, "fc2.weight"));
  // What was chosen stands in the run.
  const std::string config = text_of(folder_ / "probe/config.toml");
  EXPECT_SAYS(config, "train-only = \"head\"");
  EXPECT_SAYS(config, "augment = \"none\"");
  EXPECT_EQ(tapescope_program({"verify-run", folder_ / "probe"}).status, 0);
}

TEST_F(WeightsProgram, UnfreezingAndRatesStandInTheRun) {
  const Words options{"--weights",          torch_,       "--train-only",      "head",
                      "--unfreeze-after",   "1",          "--unfreeze-factor", "0.5",
                      "--lr-factors",       "conv*=0.25", "--augment",         "none",
                      "--checkpoint-every", "2"};
  ASSERT_EQ(train("whole", options).status, 0);
  const Safetensors theirs = read_safetensors(fixture("torch/lenet.safetensors"));
  EXPECT_FALSE(same(model("whole"), theirs, "conv1.weight"));
  EXPECT_EQ(tapescope_program({"verify-run", folder_ / "whole"}).status, 0);
  const Result other =
      tapescope_program({"train", "--resume", "--out", folder_ / "whole", "--unfreeze-after", "2"});
  EXPECT_EQ(other.status, 2);
  EXPECT_SAYS(other.err, "unfreeze-after");
}

TEST_F(WeightsProgram, PreprocessingFollowsTheWeightsIntoTheRun) {
  const std::string pipeline =
      R"([{"type":"Resize","size":28,"interpolation":"bicubic"},{"type":"CenterCrop","size":[24,24]},)"
      R"({"type":"ToTensor"},{"type":"Normalize","mean":[0.5,0.4,0.3],"std":[0.2,0.25,0.3]}])";
  put(folder_ / "classes", "left\nright\n");
  ASSERT_EQ(tapescope_program({"weights", torch_, "--out", folder_ / "m.safetensors", "--model",
                               "later", "--classes", folder_ / "classes", "--preprocess", pipeline})
                .status,
            0);
  const Result run = train(
      "run", {"--weights", folder_ / "m.safetensors", "--train-only", "head", "--image-size", "0"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_SAYS(run.err, "as the weights' file says");
  EXPECT_EQ(json::parse(model("run").metadata.at("tapescope.pipeline")), json::parse(pipeline));
  EXPECT_EQ(json::parse(model("run").metadata.at("tapescope.model"))["image_size"], 24);
  // Without the file, from config.toml alone; and what is typed otherwise is refused.
  std::filesystem::remove(folder_ / "m.safetensors");
  const Result resumed = tapescope_program({"train", "--resume", "--out", folder_ / "run"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(json::parse(model("run").metadata.at("tapescope.pipeline")), json::parse(pipeline));
  EXPECT_EQ(tapescope_program({"verify-run", folder_ / "run"}).status, 0);
  // By name, in proportion to the size.
  const Result named = train("named", {"--preprocess", "imagenet"});
  ASSERT_EQ(named.status, 0) << named.err;
  const json steps = json::parse(model("named").metadata.at("tapescope.pipeline"));
  EXPECT_EQ(steps[0], (json{{"type", "Resize"}, {"size", 27}}));
  EXPECT_EQ(steps.back()["mean"][0], 0.485);
}

TEST_F(WeightsProgram, WhatMakesNoSenseIsRefused) {
  const auto refused = [&](const Words& words, const std::string& says) {
    const Result result = train("bad", words);
    EXPECT_EQ(result.status, 2) << result.out << result.err;
    EXPECT_SAYS(result.err, says);
  };
  refused({"--train-only", "fc9.*"}, "fc9");
  refused({"--unfreeze-after", "1"}, "--train-only");
  refused({"--train-only", "head", "--unfreeze-after", "3"}, "--epochs");
  refused({"--unfreeze-factor", "0"}, "unfreeze-factor");
  refused({"--lr-factors", "fc1.*"}, "GLOB=FACTOR");
  refused({"--preprocess", "cifar"}, "imagenet");
  refused({"--weights", fixture("torch/kinds.pt")}, "fits nothing");
  EXPECT_EQ(tapescope_program({"weights", folder_ / "absent.pt"}).status, 2);
  EXPECT_EQ(tapescope_program({"weights", torch_, "--model", "lenet"}).status, 2);
}

}  // namespace
}  // namespace tapescope
