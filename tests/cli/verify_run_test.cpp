// `tapescope verify-run`, --version and --allow-non-finite as a user runs them.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

class VerifyRun : public ::testing::Test {
 protected:
  void SetUp() override {
    write_colours(folder_ / "data");
    const Result trained = train({});
    ASSERT_EQ(trained.status, 0) << trained.err;
  }
  Result train(const Words& more) const {
    Words words{"train",        "--data",   folder_ / "data",
                "--model",      "lenet",    "--width",
                "0.25",         "--epochs", "4",
                "--batch-size", "4",        "--image-size",
                "24",           "--lr",     "0.02",
                "--out",        run()};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  std::string run() const { return folder_ / "run"; }
  Result verify(const Words& more = {}) const {
    Words words{"verify-run", run()};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  json record() const { return json::parse(text_of(run() + "/environment.json")); }
  void replace_in(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = text_of(run() + "/" + file);
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    put(run() + "/" + file, text.replace(at, from.size(), to));
  }
  TemporaryFolder folder_;
};

TEST_F(VerifyRun, EqualIsSaidAndNothingIsWritten) {
  const json before = record();
  EXPECT_EQ(before["steps"].size(), 20u);
  for (const char* key : {"version", "commit", "compiler", "build", "libraries", "instruction set",
                          "processor", "device", "threads", "options"}) {
    EXPECT_TRUE(before.contains(key)) << key;
  }
  // The first of the steps that the history tells, in other digits.
  std::istringstream history(text_of(run() + "/history.jsonl"));
  double told = -1;
  for (std::string line; std::getline(history, line) && told < 0;) {
    const json entry = json::parse(line);
    if (entry.contains("step") && entry.contains("loss") && entry["step"] == 1)
      told = entry["loss"];
  }
  EXPECT_NEAR(before["steps"][0]["loss"].get<double>(), told, 1e-4);

  std::map<std::string, std::filesystem::file_time_type> times;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run())) {
    times[entry.path()] = std::filesystem::last_write_time(entry);
  }
  const Result text = verify();
  EXPECT_EQ(text.status, 0) << text.out << text.err;
  expect_says(text.out, "equal: 20 steps");
  const Result some = verify({"--json", "--steps", "3", "--threads", "1"});
  EXPECT_EQ(some.status, 0) << some.err;
  const json answer = json::parse(some.out);
  EXPECT_EQ(answer["equal"], true);
  EXPECT_EQ(answer["steps"], 3);
  EXPECT_TRUE(answer["first_difference"].is_null());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run())) {
    EXPECT_EQ(times[entry.path()], std::filesystem::last_write_time(entry)) << entry.path();
  }
}

TEST_F(VerifyRun, ChangedDataOptionsAndLossesAreTold) {
  const std::string picture = folder_ / "data/train/blue/12.png";
  const auto bytes = get(picture);
  write_png(picture, coloured(1, 24, 999));
  const Result changed = verify({"--json"});
  EXPECT_EQ(changed.status, 1) << changed.out << changed.err;
  const json answer = json::parse(changed.out);
  EXPECT_EQ(answer["equal"], false);
  expect_says(answer["first_difference"]["what"], "pictures");

  // Where the run has a record of its files, the one that changed is named.
  put(run() + "/split.tsv",
      "train\tblue\t" + std::to_string(bytes.size() + 7) +
          "\t00\ttrain/blue/12.png\t0\ntrain\tblue\t5\t00\ttrain/blue/gone.png\t0\n");
  const Result named = verify();
  expect_says(named.out, fmt::format("it had {}", bytes.size() + 7));
  expect_says(named.out, "train/blue/12.png has");
  expect_says(named.out, "train/blue/gone.png is gone");
  std::filesystem::remove(run() + "/split.tsv");

  put(picture, bytes);
  replace_in("config.toml", "lr = 0.02", "lr = 0.03");
  const Result edited = verify();
  EXPECT_EQ(edited.status, 1);
  expect_says(edited.out, "different at step");
  expect_says(edited.out, "config.toml, lr: 0.02 then, 0.03 now");
  replace_in("config.toml", "lr = 0.03", "lr = 0.02");

  // One bit of one loss.
  json record = this->record();
  const std::string bits = record["steps"][4]["loss bits"];
  record["steps"][4]["loss bits"] = bits.substr(0, 7) + (bits[7] == '0' ? '1' : '0');
  put(run() + "/environment.json", record.dump());
  const Result bit = verify();
  EXPECT_EQ(bit.status, 1);
  expect_says(bit.out, "different at step 5: its loss is");
  EXPECT_EQ(verify({"--steps", "4"}).status, 0);
}

TEST_F(VerifyRun, OtherInstructionsBuildsAndInitialValuesAreNamed) {
  json record = this->record();
  if (record["instruction set"] != "baseline") {
    ::setenv("TAPESCOPE_ISA", "baseline", 1);
    const Result lower = verify();
    ::unsetenv("TAPESCOPE_ISA");
    expect_says(lower.out, "instruction set: " + record["instruction set"].get<std::string>() +
                               " then, baseline now");
    EXPECT_EQ(lower.status, lower.out.starts_with("equal") ? 0 : 1);
  }
  record["commit"] = "0123456789ab";
  record["libraries"] = "oneDNN 1.0";
  put(run() + "/environment.json", record.dump());
  const Result other = verify();
  EXPECT_EQ(other.status, 0);
  expect_says(other.out, "commit: 0123456789ab then");
  expect_says(other.out, "libraries: oneDNN 1.0 then");

  const std::string initial = run() + "/checkpoints/initial.safetensors";
  Safetensors file = read_safetensors(initial);
  file.tensors[0].tensor.values<float>()[0] += 1;
  write_safetensors(initial, file.tensors, file.metadata);
  const Result values = verify();
  EXPECT_EQ(values.status, 1) << values.out;
  expect_says(values.out, "initial values: 1 tensors");
}

TEST_F(VerifyRun, WhatCannotBeTriedIsAUsageError) {
  const auto refused = [&](const std::string& says) {
    const Result result = verify();
    EXPECT_EQ(result.status, 2) << result.out;
    EXPECT_EQ(result.out, "");
    expect_says(result.err, says);
  };
  std::filesystem::rename(folder_ / "data", folder_ / "elsewhere");
  refused("data");
  std::filesystem::rename(folder_ / "elsewhere", folder_ / "data");
  const std::string good = text_of(run() + "/environment.json");
  for (const std::string bad :
       {"", "{}", "[1,2]", "{\"options\":{},\"steps\":[{\"loss bits\":\"xyz\",\"inputs\":\"1\"}]}",
        "{\"options\":{},\"steps\":7}"}) {
    put(run() + "/environment.json", bad);
    refused("environment.json");
  }
  std::filesystem::remove(run() + "/environment.json");
  refused("Older versions");
  put(run() + "/environment.json", good);
  std::filesystem::remove(run() + "/config.toml");
  refused("config.toml");
  EXPECT_EQ(tapescope_program({"verify-run", folder_ / "none"}).status, 2);
}

TEST_F(VerifyRun, AResumedTrainingGoesOnWithItsRecord) {
  const json whole = record();
  std::filesystem::remove_all(run());
  Process process({"train", "--data", folder_ / "data", "--model", "lenet", "--width", "0.25",
                   "--epochs", "4", "--batch-size", "4", "--image-size", "24", "--lr", "0.02",
                   "--out", run(), "--checkpoint-every", "1"});
  while (!std::filesystem::exists(run() + "/checkpoints/last.safetensors")) ::usleep(1000);
  process.signal(SIGKILL);
  process.wait();
  const std::size_t before = record()["steps"].size();
  EXPECT_LE(before, 20u);
  const Result resumed = tapescope_program({"train", "--resume", "--out", run()});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(record()["steps"], whole["steps"]) << "stopped after " << before;
  EXPECT_EQ(verify().status, 0);
}

TEST_F(VerifyRun, WeightsAndFreezingAreTakenFromTheRun) {
  std::filesystem::copy(run() + "/checkpoints/best.safetensors", folder_ / "start.safetensors");
  std::filesystem::remove_all(run());
  ASSERT_EQ(train({"--weights", folder_ / "start.safetensors", "--freeze", "conv1.*"}).status, 0);
  std::filesystem::remove(folder_ / "start.safetensors");
  const Result result = verify();
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_EQ(result.out.find("initial values"), std::string::npos) << result.out;
}

TEST(VerifyDetector, IsVerifiedAsWell) {
  const TemporaryFolder folder;
  write_squares_and_bars(folder.path(), "train", 12);
  ASSERT_EQ(tapescope_program({"train", "--data", folder.path(), "--model", "centre-detector",
                               "--width", "0.25", "--epochs", "2", "--batch-size", "4",
                               "--image-size", "64", "--out", folder / "run"})
                .status,
            0);
  const Result result = tapescope_program({"verify-run", folder / "run", "--json"});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_EQ(json::parse(result.out)["equal"], true);
}

TEST(Version, TellsTheBuild) {
  const Result result = tapescope_program({"--version"});
  EXPECT_EQ(result.status, 0);
  EXPECT_TRUE(result.out.starts_with("tapescope 0.1")) << result.out;
  for (const char* key : {"commit", "compiler", "build", "libraries", "instruction set"}) {
    expect_says(result.out, key);
  }
}

TEST_F(VerifyRun, NotANumberIsRefusedByCommandsAndFoundByInspect) {
  const std::string best = run() + "/checkpoints/best.safetensors";
  Safetensors file = read_safetensors(best);
  for (StoredTensor& tensor : file.tensors) {
    if (tensor.name == "fc2.weight") tensor.tensor.values<float>()[5] = std::nanf("");
  }
  write_safetensors(best, file.tensors, file.metadata);
  const std::string picture = folder_ / "data/test/red/22.png";
  for (const Words& words :
       {Words{"predict", "--run", run(), picture},
        Words{"eval", "--run", run(), "--data", folder_ / "data"},
        Words{"inspect", "activations", "--run", run(), "--data", folder_ / "data"}}) {
    const Result refused = tapescope_program(words);
    EXPECT_EQ(refused.status, 2) << words[0];
    expect_says(refused.err, "'fc2.weight' has 1 of");
    expect_says(refused.err, "--allow-non-finite");
  }
  const Result found = tapescope_program({"inspect", "parameters", "--run", run()});
  EXPECT_EQ(found.status, 0) << found.err;
  expect_says(found.out, "NOT FINITE");
  const Result allowed =
      tapescope_program({"predict", "--run", run(), picture, "--allow-non-finite"});
  EXPECT_EQ(allowed.status, 0) << allowed.err;
  expect_says(allowed.err, "'fc2.weight' has 1 of");
}

}  // namespace
}  // namespace tapescope
