// Whatever is wrong with the input: one clear sentence on stderr, the right exit status, and
// nothing lost.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tools/onnx/graph.h"
#include "tools/training/stored_zip.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override { write_colours(folder_ / "data"); }
  std::string data() const { return folder_ / "data"; }
  std::string out() const { return folder_ / "run"; }
  Words train(const Words& more = {}) const {
    Words words{"train",   "--data",       data(),     "--model", "lenet",
                "--width", "0.25",         "--epochs", "1",       "--batch-size",
                "8",       "--image-size", "24",       "--out",   out()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // The program fails with this status, and its last line on stderr holds all of `parts`.
  static void expect_complaint(const Words& command, int status, const Words& parts) {
    const Result result = tapescope_program(command);
    EXPECT_EQ(result.status, status) << result.err << result.out;
    std::string sentence = result.err;
    while (!sentence.empty() && sentence.back() == '\n') sentence.pop_back();
    sentence = sentence.substr(sentence.rfind('\n') + 1);
    EXPECT_TRUE(sentence.starts_with("tapescope: ")) << result.err;
    for (const std::string& part : parts) {
      EXPECT_NE(sentence.find(part), std::string::npos) << "no '" << part << "' in: " << result.err;
    }
  }
  TemporaryFolder folder_;
};

TEST_F(BadInput, PicturesThatCannotBeRead) {
  const fs::path bad = folder_ / "data/train/red/00.png";
  const std::vector<std::uint8_t> good = get(folder_ / "data/train/red/10.png");
  put(bad, std::span(good.data(), good.size() / 2));
  expect_complaint(train(), 2, {"red/00.png"});
  put(bad, std::string());
  expect_complaint(train(), 2, {"red/00.png", "empty"});
  put(bad, std::string("this is not a picture\n"));
  expect_complaint(train(), 2, {"red/00.png"});
  fs::rename(bad, folder_ / "data/train/red/00.jpg");
  std::vector<std::uint8_t> jpeg = get(fixture("images/baseline.jpg"));
  put(folder_ / "data/train/red/00.jpg", std::span(jpeg.data(), jpeg.size() * 2 / 3));
  expect_complaint(train(), 2, {"red/00.jpg"});

  expect_complaint(train(), 2, {"red/00.jpg", "remove the file (--on-bad-image skip)"});
  const Result skipped = tapescope_program(train({"--on-bad-image", "skip"}));
  EXPECT_EQ(skipped.status, 0) << skipped.err;
  EXPECT_NE((skipped.err + skipped.out).find("red/00.jpg"), std::string::npos);
  expect_complaint({"predict", "--run", out(), folder_ / "data/train/red/00.jpg"}, 2, {"00.jpg"});
  expect_complaint({"predict", "--run", out(), folder_ / "no-such.png"}, 2, {"no-such.png"});
}

// Remedies name no option that the subcommand has not.
TEST_F(BadInput, RemediesAreOfTheSubcommand) {
  ASSERT_EQ(tapescope_program(train()).status, 0);
  put(folder_ / "data/test/red/22.png", std::string("no picture"));
  expect_complaint({"eval", "--run", out(), "--data", data()}, 2, {"(--on-bad-image skip)"});
  for (const Words& command : std::vector<Words>{
           {"benchmark-explanations", "--run", out(), "--data", data()},
           {"inspect", "activations", "--run", out(), "--data", data()},
           {"report", "--run", out(), "--data", data(), "--out", folder_ / "report.html"}}) {
    const Result result = tapescope_program(command);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find("red/22.png"), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("--on-bad-image"), std::string::npos) << result.err;
  }
}

// Before the work, not after it: where the place is asked first, it does not matter that what would
// be worked on is not there.
TEST_F(BadInput, PlacesToWriteAreLookedAtFirst) {
  const std::string none = folder_ / "no-run", picture = folder_ / "data/train/red/10.png";
  const Words run{"--run", none};
  const auto with = [&](Words words, const Words& more) {
    words.insert(words.end(), run.begin(), run.end());
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::vector<std::pair<Words, std::string>> of_files{
      {with({"report"}, {"--data", data()}), "--out"},
      {with({"benchmark-explanations"}, {"--data", data()}), "--out"},
      {with({"inspect", "structure"}, {"--time"}), "--graph"},
      {with({"inspect", "tape"}, {}), "--graph"}};
  const std::vector<std::pair<Words, std::string>> of_folders{
      {with({"explain"}, {picture}), "--out"},
      {with({"explain"}, {picture, "--fgsm"}), "--out"},
      {with({"inspect", "activations"}, {"--data", data()}), "--out"},
      {with({"inspect", "parameters"}, {}), "--out"},
      {{"synthesize"}, "--out"}};
  const auto refused = [&](Words words, const std::string& option, const std::string& place) {
    words.insert(words.end(), {option, place});
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(option + " '"), std::string::npos) << words[0] << ": " << result.err;
  };
  fs::create_directories(folder_ / "folder.svg");
  for (const auto& [words, option] : of_files) {
    refused(words, option, folder_ / "folder.svg");  // as a file
    refused(words, option, "/proc/self/a.svg");      // where nobody may make any
  }
  for (const auto& [words, option] : of_folders) {
    refused(words, option, picture + "/maps");  // in a file
    if (words[0] != "synthesize") refused(words, option, "/proc/self");
  }
  ASSERT_EQ(tapescope_program(train()).status, 0);
  const Words detect{"detect", "--run", out(), picture};
  refused(detect, "--out", "/proc/self");
  refused(detect, "--video", "/proc/self/a.mp4");
}

TEST_F(BadInput, Classes) {
  fs::create_directories(folder_ / "data/train/empty");
  expect_complaint(train(), 2, {"empty"});
  fs::remove(folder_ / "data/train/empty");
  fs::remove_all(folder_ / "data/train/blue");
  fs::remove_all(folder_ / "data/test/blue");
  expect_complaint(train(), 2, {"red", "class"});
  fs::remove_all(folder_ / "data/train/red");
  fs::remove_all(folder_ / "data/test");
  expect_complaint(train(), 2, {"data"});
  fs::remove_all(folder_ / "data");
  expect_complaint(train(), 2, {"data"});
}

TEST_F(BadInput, SizesTheModelCannotTake) {
  expect_complaint(
      {"train", "--data", data(), "--model", "resnet18", "--image-size", "8", "--out", out()}, 2,
      {"8x8", "resnet18", "--image-size"});
}

TEST_F(BadInput, IdxFiles) {
  const fs::path idx = folder_ / "idx";
  const auto images = [&](std::uint8_t magic, int count) {
    std::string bytes{0, 0, 8, static_cast<char>(magic), 0, 0, 0, 20, 0, 0, 0, 28, 0, 0, 0, 28};
    return bytes + std::string(static_cast<std::size_t>(count) * 28 * 28, '\x7f');
  };
  const auto labels = [&](char last) {
    std::string bytes{0, 0, 8, 1, 0, 0, 0, 20};
    for (int i = 0; i < 19; ++i) bytes += static_cast<char>(i % 2);
    return bytes + last;
  };
  const Words command{"train", "--data", idx, "--model", "mlp", "--epochs", "1", "--out", out()};
  const auto write = [&](const std::string& pictures, const std::string& numbers) {
    for (const char* split : {"train", "t10k"}) {
      put(idx / (std::string(split) + "-images-idx3-ubyte"), pictures);
      put(idx / (std::string(split) + "-labels-idx1-ubyte"), numbers);
    }
  };
  write(images(9, 20), labels(0));
  expect_complaint(command, 2, {"images-idx3-ubyte"});
  write(images(3, 19), labels(0));
  expect_complaint(command, 2, {"images-idx3-ubyte"});
  write(images(3, 20), labels(0).substr(0, 20));
  expect_complaint(command, 2, {"labels-idx1-ubyte"});
  write(images(3, 20), labels(0));
  EXPECT_EQ(tapescope_program(command).status, 0);
  // A label that the trained model does not have.
  write(images(3, 20), labels(7));
  expect_complaint({"eval", "--run", out(), "--data", idx}, 2, {"7"});
}

TEST_F(BadInput, Checkpoints) {
  ASSERT_EQ(tapescope_program(train()).status, 0);
  expect_complaint(train(), 2, {"run", "--resume"});  // it holds a training
  const fs::path best = folder_ / "run/checkpoints/best.safetensors";
  const std::vector<std::uint8_t> whole = get(best);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{5}, std::size_t{100}, whole.size() - 1}) {
    put(best, std::span(whole.data(), length));
    expect_complaint({"eval", "--run", out(), "--data", data()}, 2, {"best.safetensors"});
  }
  // The others stay readable.
  EXPECT_EQ(
      tapescope_program({"eval", "--run", out(), "--data", data(), "--checkpoint", "last"}).status,
      0);
  expect_complaint({"eval", "--run", out(), "--data", data(), "--checkpoint", "middle"}, 2,
                   {"middle"});
  expect_complaint({"eval", "--run", folder_ / "nothing", "--data", data()}, 2, {"nothing"});
  expect_complaint(train({"--resume", "--model", "mlp"}), 2, {"model"});
  expect_complaint({"train", "--data", data(), "--model", "resnet20", "--weights",
                    folder_ / "run/checkpoints/last.safetensors", "--out", folder_ / "other"},
                   2, {"last.safetensors"});
}

TEST_F(BadInput, Options) {
  expect_complaint(train({"--epoch", "3"}), 2, {"--epoch"});
  expect_complaint(train({"--epochs", "three"}), 2, {"epochs"});
  expect_complaint(train({"--epochs", "0"}), 2, {"--epochs"});
  expect_complaint(train({"--batch-size", "-1"}), 2, {"--batch-size"});
  // Numbers beyond what a computer counts with are not taken for others.
  expect_complaint(train({"--seed", "18446744073709551616"}), 2,
                   {"--seed", "18446744073709551615"});
  expect_complaint(train({"--seed", "-1"}), 2, {"--seed", "-1"});
  expect_complaint(train({"--limit", "9223372036854775808"}), 2, {"--limit", "in range"});
  expect_complaint(train({"--loader-threads", "4294967297"}), 2, {"--loader-threads", "1024"});
  expect_complaint(train({"--model", "alexnet"}), 2, {"alexnet", "lenet"});
  expect_complaint(train({"--loss", "hinge"}), 2, {"hinge", "focal"});
  expect_complaint(train({"--optimizer", "lion"}), 2, {"lion", "adamw"});
  expect_complaint(train({"--schedule", "linear"}), 2, {"linear", "cosine"});
  expect_complaint(train({"--augment", "rotate"}), 2, {"rotate", "flip"});
  expect_complaint(train({"--precision", "fp8"}), 2, {"fp8", "f32, tf32 or bf16"});
  expect_complaint(train({"--device", "cuda"}), 2, {"cuda"});
  expect_complaint(train({"--kernel", "conv2d=magic"}), 2, {"conv2d=magic"});
  expect_complaint(train({"--freeze", "layer9.*"}), 2, {"layer9", "conv1.weight"});
  expect_complaint(train({"--freeze", "*"}), 2, {"freeze"});
  expect_complaint(train({"--threads", "-2"}), 2, {"threads"});
  expect_complaint(train({"--config", folder_ / "none.toml"}), 2, {"none.toml"});
  put(folder_ / "bad.toml", std::string("epohcs = 3\n"));
  expect_complaint(train({"--config", folder_ / "bad.toml"}), 2, {"epohcs"});
  expect_complaint({"train", "--out", out()}, 2, {"--data"});
  expect_complaint({"train", "--data", data()}, 2, {"--out"});
  expect_complaint({"trian"}, 2, {"trian"});
  expect_complaint({}, 2, {"tapescope"});
  expect_complaint({"predict", "--run", out()}, 2, {"no picture given"});
  EXPECT_FALSE(fs::exists(out())) << "a refused command left something behind";
}

TEST_F(BadInput, OutputThatCannotBeWritten) {
  put(folder_ / "file", std::string("x"));
  Words command = train();
  command.back() = (folder_ / "file") / "run";
  expect_complaint(command, 2, {"file/run"});
}

TEST_F(BadInput, LossThatIsNotFinite) {
  expect_complaint(train({"--lr", "1e30", "--schedule", "constant", "--epochs", "4"}), 1,
                   {"not finite", "step", "--lr"});
  EXPECT_EQ(tapescope_program({"eval", "--run", out(), "--data", data(), "--checkpoint", "initial"})
                .status,
            0);
}

TEST(Program, HelpAndVersion) {
  const Result version = tapescope_program({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_NE(version.out.find("tapescope"), std::string::npos);
  for (const std::string& library : {tapescope::onnx::protobuf_version(), zip_library()}) {
    EXPECT_NE(version.out.find(library), std::string::npos) << library;
  }
  for (const char* name : {"train", "eval", "predict", "explain", "inspect", "kernels",
                           "synthesize", "benchmark-explanations"}) {
    const Result help = tapescope_program({name, "--help"});
    EXPECT_EQ(help.status, 0) << help.err;
    EXPECT_NE(help.out.find("Example:"), std::string::npos) << help.out;
  }
  // Either will do, so neither is said to be required.
  const Result verify = tapescope_program({"verify-run", "--help"});
  EXPECT_EQ(verify.out.find("REQUIRED"), std::string::npos) << verify.out;
  EXPECT_EQ(tapescope_program({"verify-run"}).status, 2);
  EXPECT_NE(tapescope_program({"detect", "--help"}).out.find("--allow-outside"), std::string::npos);
}

TEST(Program, KernelsListsVariantsAndReasons) {
  const Result result = tapescope_program({"kernels", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const auto kernels = nlohmann::json::parse(result.out)["kernels"];
  bool reference = false;
  for (const auto& kernel : kernels) {
    for (const char* key :
         {"family", "device", "variant", "dtypes", "compiled", "available", "reason"}) {
      ASSERT_TRUE(kernel.contains(key)) << key;
    }
    // What the build holds is one thing, what can run here another.
    EXPECT_EQ(kernel["available"].get<bool>(), kernel["reason"].get<std::string>().empty());
    EXPECT_TRUE(kernel["compiled"].get<bool>() || !kernel["available"].get<bool>());
    if (kernel["device"] == "emulated") {
      EXPECT_TRUE(kernel["compiled"].get<bool>());
    }
    reference = reference || (kernel["family"] == "conv2d" && kernel["variant"] == "reference");
  }
  EXPECT_TRUE(reference);
  const std::string table = tapescope_program({"kernels"}).out;
  EXPECT_NE(table.find("cuda"), std::string::npos);
  std::istringstream lines(
      table.substr(table.find("\n\n")));  // what devices say of themselves aside
  for (std::string text; std::getline(lines, text);) EXPECT_LE(text.size(), 100u) << text;
}

}  // namespace
}  // namespace tapescope
