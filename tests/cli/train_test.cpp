// `tapescope train`, eval and predict as a user runs them, on small coloured pictures.
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class TrainProgram : public ::testing::Test {
 protected:
  void SetUp() override { write_colours(folder_ / "data"); }
  std::string data() const { return folder_ / "data"; }
  std::string run(const std::string& name) const { return folder_ / name; }
  Words command(const std::string& out, const Words& more = {}) const {
    Words words{"train", "--data",   data(), "--model",      "lenet", "--width",
                "0.25",  "--epochs", "3",    "--batch-size", "4",     "--image-size",
                "24",    "--lr",     "0.02", "--out",        run(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::vector<std::uint8_t> checkpoint(const std::string& out, const std::string& name) const {
    return get(std::filesystem::path(run(out)) / "checkpoints" / (name + ".safetensors"));
  }
  void expect_same_checkpoints(const std::string& a, const std::string& b) const {
    for (const char* name : {"initial", "last", "best"}) {
      EXPECT_TRUE(checkpoint(a, name) == checkpoint(b, name)) << name << " of " << a << ", " << b;
    }
  }
  TemporaryFolder folder_;
};

TEST_F(TrainProgram, TrainsEvaluatesAndPredicts) {
  const Result trained = tapescope_program(command("run", {"--json", "--keep-checkpoints", "2"}));
  ASSERT_EQ(trained.status, 0) << trained.err;
  const json metrics = json::parse(trained.out);  // one object and nothing else
  for (const char* key :
       {"test_accuracy", "test_loss", "checkpoint", "epochs", "seconds", "images_per_second",
        "seconds_data_wait", "peak_bytes", "planned_bytes"}) {
    EXPECT_TRUE(metrics.contains(key)) << key;
  }
  EXPECT_EQ(metrics, json::parse(text_of(run("run") + "/metrics.json")));
  EXPECT_GE(metrics["test_accuracy"], 0.9);
  EXPECT_NEAR(metrics["planned_bytes"].get<double>() / metrics["peak_bytes"].get<double>(), 1, 0.1);

  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(run("run") + "/checkpoints")) {
    const std::string name = entry.path().filename();
    files.insert(name.starts_with("state-") ? "state" : name);
  }
  EXPECT_EQ(files, (std::set<std::string>{"best.safetensors", "epoch-002.safetensors",
                                          "epoch-003.safetensors", "initial.safetensors",
                                          "last.safetensors", "state"}));
  std::istringstream history(text_of(run("run") + "/history.jsonl"));
  int epochs = 0;
  for (std::string line; std::getline(history, line);) {
    epochs += json::parse(line).contains("train_loss") ? 1 : 0;
  }
  EXPECT_EQ(epochs, 3);

  const Result evaluated =
      tapescope_program({"eval", "--run", run("run"), "--data", data(), "--json"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.err;
  const json figures = json::parse(evaluated.out);
  EXPECT_EQ(figures["accuracy"], metrics["test_accuracy"]);
  EXPECT_EQ(figures["loss"], metrics["test_loss"]);
  EXPECT_EQ(figures["images"], 8);
  EXPECT_EQ(figures["classes"][0]["name"], "blue");
  EXPECT_EQ(figures["classes"][1]["support"], 4);
  int sum = 0;
  for (const auto& row : figures["confusion"]) {
    for (const auto& count : row) sum += count.get<int>();
  }
  EXPECT_EQ(sum, 8);
  const Result table = tapescope_program({"eval", "--run", run("run"), "--data", data()});
  EXPECT_NE(table.out.find("recall"), std::string::npos);

  const Result predicted =
      tapescope_program({"predict", "--run", run("run"), data() + "/test/red/22.png",
                         data() + "/test/blue/22.png", "--top", "1", "--json"});
  ASSERT_EQ(predicted.status, 0) << predicted.err;
  const json images = json::parse(predicted.out)["images"];
  ASSERT_EQ(images.size(), 2u);
  EXPECT_EQ(images[0]["path"], data() + "/test/red/22.png");
  EXPECT_EQ(images[0]["top"].size(), 1u);
  EXPECT_EQ(images[0]["top"][0]["class"], "red");
  EXPECT_EQ(images[1]["top"][0]["class"], "blue");
  EXPECT_GT(images[0]["top"][0]["probability"], 0.5);
}

TEST_F(TrainProgram, SeedDecidesAndThreadsDoNot) {
  ASSERT_EQ(tapescope_program(command("one", {"--threads", "1", "--loader-threads", "0"})).status,
            0);
  ASSERT_EQ(tapescope_program(command("two", {"--threads", "2", "--loader-threads", "3"})).status,
            0);
  ASSERT_EQ(tapescope_program(command("other", {"--seed", "1"})).status, 0);
  expect_same_checkpoints("one", "two");
  EXPECT_FALSE(checkpoint("one", "last") == checkpoint("other", "last"));
}

TEST_F(TrainProgram, KeptPicturesChangeNothing) {
  const Words augmented = {"--augment", "crop-flip", "--validation-fraction", "0.2"};
  const auto trained = [&](const std::string& out, const Words& more) {
    Words words = augmented;
    words.insert(words.end(), more.begin(), more.end());
    const Result result = tapescope_program(command(out, words));
    EXPECT_EQ(result.status, 0) << result.err;
    return result.err;
  };
  EXPECT_EQ(trained("none", {}).find("--cache"), std::string::npos);
  for (const char* where : {"memory", "disk"}) {
    const std::string told = trained(where, {"--cache", where});
    EXPECT_NE(told.find(fmt::format("--cache {}: about 0.00 GiB of pictures", where)),
              std::string::npos)
        << told;
    expect_same_checkpoints("none", where);
  }
  EXPECT_EQ(tapescope_program(command("run", {"--cache", "tape"})).status, 2);
}

TEST_F(TrainProgram, ProfileTellsOfStepsAndChangesNothing) {
  ASSERT_EQ(tapescope_program(command("plain")).status, 0);
  const Result result = tapescope_program(command("run", {"--profile", "3"}));
  ASSERT_EQ(result.status, 0) << result.err;
  expect_same_checkpoints("plain", "run");
  EXPECT_NE(result.err.find("a step of 4 images: "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("\nconv2/conv2d "), std::string::npos) << result.err;
  EXPECT_EQ(json::parse(text_of(run("run") + "/profile.json"))["steps"], 3);
  EXPECT_FALSE(json::parse(text_of(run("run") + "/profile.trace.json"))["traceEvents"].empty());
  // Where it cannot be kept, the training goes on, and the status says so.
  std::filesystem::create_directories(run("blocked") + "/profile.json");
  const Result blocked = tapescope_program(command("blocked", {"--profile", "3"}));
  EXPECT_EQ(blocked.status, 1);
  EXPECT_NE(blocked.err.find("the profile is not kept: "), std::string::npos) << blocked.err;
  expect_same_checkpoints("plain", "blocked");
  const Result most = tapescope_program(command("short", {"--profile", "1000"}));
  EXPECT_EQ(most.status, 0);
  EXPECT_NE(most.err.find("--profile: there were not so many full batches"), std::string::npos)
      << most.err;
}

TEST_F(TrainProgram, InterruptedRunGoesOnBitForBit) {
  ASSERT_EQ(tapescope_program(command("whole", {"--epochs", "24"})).status, 0);
  Process process(command("part", {"--epochs", "24", "--checkpoint-every", "1"}));
  for (int i = 0; i < 3000; ++i) {  // until it has taken a few steps
    if (std::filesystem::exists(run("part") + "/checkpoints/last.safetensors")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGINT);
  const Result stopped = process.wait();
  ASSERT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;

  const Result refused =
      tapescope_program({"train", "--resume", "--out", run("part"), "--lr", "0.5"});
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("lr"), std::string::npos) << refused.err;

  // Everything else comes from the run.
  const Result resumed = tapescope_program({"train", "--resume", "--out", run("part")});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  expect_same_checkpoints("whole", "part");
}

TEST_F(TrainProgram, Bf16WithoutInstructionsForItIsSaidAndComputedAsF32) {
  ::setenv("TAPESCOPE_ISA", "avx2", 1);
  const Result trained = tapescope_program(command("run", {"--precision", "bf16"}));
  ::unsetenv("TAPESCOPE_ISA");
  EXPECT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE((trained.out + trained.err).find("no bf16 arithmetic"), std::string::npos);
}

// A CPU has none: said, and computed as f32, to the bit. The run keeps what was asked for.
TEST_F(TrainProgram, Tf32OnTheCpuIsSaidKeptAndF32) {
  ASSERT_EQ(tapescope_program(command("f32", {})).status, 0);
  const Result trained = tapescope_program(command("tf32", {"--precision", "tf32"}));
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE((trained.out + trained.err).find("no tf32 arithmetic"), std::string::npos);
  EXPECT_NE(text_of(run("tf32") + "/config.toml").find("precision = \"tf32\""), std::string::npos);
  expect_same_checkpoints("f32", "tf32");
  const Result other =
      tapescope_program({"train", "--resume", "--out", run("tf32"), "--precision", "f32"});
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.err.find("precision"), std::string::npos) << other.err;
}

TEST_F(TrainProgram, Bf16IsKeptAndAnswersSayHowFarTheyLieFromF32) {
  Words plan{"train",        "--data", data(),   "--model", "resnet20",
             "--image-size", "32",     "--plan", "--json"};
  const Result f32 = tapescope_program(plan);
  plan.insert(plan.end(), {"--precision", "bf16"});
  const Result bf16 = tapescope_program(plan);
  EXPECT_LT(json::parse(bf16.out)["arena_bytes"].get<double>(),
            0.8 * json::parse(f32.out)["arena_bytes"].get<double>());

  const Result trained = tapescope_program(command("run", {"--precision", "bf16", "--json"}));
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_GE(json::parse(trained.out)["test_accuracy"], 0.9);
  EXPECT_NE(text_of(run("run") + "/config.toml").find("precision = \"bf16\""), std::string::npos);
  for (const std::string name : {"last", "best"}) {  // as ever, f32
    const Safetensors file = read_safetensors(run("run") + "/checkpoints/" + name + ".safetensors");
    for (const auto& tensor : file.tensors) EXPECT_NE(tensor.tensor.dtype(), DType::bf16);
  }
  const std::string picture = data() + "/test/red/22.png";
  for (const Words& words : {Words{"eval", "--data", data()}, Words{"predict", picture},
                             Words{"explain", picture, "--out", run("maps")}}) {
    Words all = words;
    all.insert(all.end(), {"--run", run("run"), "--precision", "bf16"});
    const Result result = tapescope_program(all);
    EXPECT_EQ(result.status, 0) << words[0] << result.err;
    EXPECT_NE((result.out + result.err).find("% from f32's"), std::string::npos) << words[0];
  }
}

TEST_F(TrainProgram, ABatchLargerThanTheDataIsSaidAndNotReckonedWith) {
  const auto trained = [&](const std::string& name, const std::string& batch) {
    return tapescope_program({"train", "--data", data(), "--model", "lenet", "--width", "0.25",
                              "--epochs", "1", "--image-size", "24", "--validation-fraction", "0",
                              "--batch-size", batch, "--out", run(name)});
  };
  const Result large = trained("large", "512");
  ASSERT_EQ(large.status, 0) << large.err;
  EXPECT_NE(large.err.find("--batch-size 512: there are 24 training pictures"), std::string::npos)
      << large.err;
  const Result whole = trained("whole", "24");
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_EQ(whole.err.find("training pictures, which"), std::string::npos) << whole.err;
  expect_same_checkpoints("large", "whole");
  EXPECT_NE(text_of(run("large") + "/config.toml").find("\nlr = 0.03062\n"), std::string::npos)
      << "0.05 sqrt(24 / 64)";
}

TEST_F(TrainProgram, ConfigFileGivesOptionsAndTheCommandLineWins) {
  ASSERT_EQ(tapescope_program(command("typed")).status, 0);
  put(folder_ / "options.toml", "data = \"" + data() + "\"\nmodel = \"lenet\"\nwidth = 0.25\n" +
                                    "epochs = 9\nbatch-size = 4\nimage-size = 24\nlr = 0.02\n");
  const Result result = tapescope_program(
      {"train", "--config", folder_ / "options.toml", "--epochs", "3", "--out", run("file")});
  ASSERT_EQ(result.status, 0) << result.err;
  expect_same_checkpoints("typed", "file");
  // What was resolved is written beside the results, and is a config file itself.
  const Result again = tapescope_program(
      {"train", "--config", run("typed") + "/config.toml", "--out", run("again")});
  ASSERT_EQ(again.status, 0) << again.err;
  expect_same_checkpoints("typed", "again");
}

// A folder without train/ and test/ is split by the training; an evaluation must see the same
// parts.
TEST_F(TrainProgram, EvaluationSeesTheTestPicturesThatTrainingSetAside) {
  const auto flat = folder_ / "flat";
  std::filesystem::create_directories(flat);
  std::filesystem::copy(folder_ / "data/train", flat, std::filesystem::copy_options::recursive);
  Words words = command("run", {"--test-fraction", "0.25", "--validation-fraction", "0.25",
                                "--loss", "focal", "--json"});
  words[2] = flat;
  const Result trained = tapescope_program(words);
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Result test = tapescope_program({"eval", "--run", run("run"), "--data", flat, "--json"});
  ASSERT_EQ(test.status, 0) << test.err;
  EXPECT_GE(json::parse(test.out)["images"], 2);
  EXPECT_EQ(json::parse(test.out)["loss"], json::parse(trained.out)["test_loss"]);
  const Result validation = tapescope_program(
      {"eval", "--run", run("run"), "--data", flat, "--split", "validation", "--json"});
  ASSERT_EQ(validation.status, 0) << validation.err;
  EXPECT_EQ(json::parse(validation.out)["accuracy"],
            json::parse(trained.out)["best_validation_score"]);
}

TEST_F(TrainProgram, PlanSaysWhatTrainingThenNeeds) {
  const Result plan = tapescope_program(command("run", {"--plan", "--json"}));
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_FALSE(std::filesystem::exists(run("run")));
  ASSERT_EQ(tapescope_program(command("run")).status, 0);
  const json metrics = json::parse(text_of(run("run") + "/metrics.json"));
  EXPECT_NEAR(
      json::parse(plan.out)["planned_bytes"].get<double>() / metrics["peak_bytes"].get<double>(), 1,
      0.1);
  const Result words = tapescope_program(command("run", {"--plan"}));
  EXPECT_NE(words.out.find("GFLOP"), std::string::npos) << words.out;
}

TEST_F(TrainProgram, FineTunesFromWeightsWithAFrozenBody) {
  ASSERT_EQ(tapescope_program(command("base")).status, 0);
  for (int i = 0; i < 6; ++i) {  // a third class: the head has another size
    std::filesystem::create_directories(folder_ / "data/train/green");
    write_png(folder_ / ("data/train/green/" + std::to_string(i) + ".png"),
              coloured(2, 24, static_cast<std::uint64_t>(900 + i)));
  }
  const Result tuned = tapescope_program(
      command("tuned", {"--weights", run("base") + "/checkpoints/best.safetensors", "--freeze",
                        "conv*", "--epochs", "1"}));
  ASSERT_EQ(tuned.status, 0) << tuned.err;
  EXPECT_NE((tuned.err + tuned.out).find("fc2.weight"), std::string::npos) << tuned.err;
  const Safetensors before = read_safetensors(run("base") + "/checkpoints/best.safetensors");
  const Safetensors after = read_safetensors(run("tuned") + "/checkpoints/last.safetensors");
  const auto same = [&](const std::string& name) {
    const Tensor &a = *before.find(name), &b = *after.find(name);
    return a.type() == b.type() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
  };
  EXPECT_TRUE(same("conv1.weight") && same("conv2.bias"));
  EXPECT_FALSE(same("fc1.weight"));
}

}  // namespace
}  // namespace tapescope
