// Data that changes, has odd sizes or lies in odd places, as a user meets it in `tapescope`.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/says.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

class SplitProgram : public ::testing::Test {
 protected:
  void SetUp() override { write_colours(folder_ / "data"); }
  std::string at(const std::string& name) const { return folder_ / name; }
  Words train(const std::string& data, const std::string& out, const Words& more = {}) const {
    Words words{"train", data,           "--model", "lenet", "--width", "0.25",  "--epochs",
                "2",     "--batch-size", "4",       "--lr",  "0.02",    "--out", at(out)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // <flat>/{red,blue}/NN.png, 12 a class.
  std::string flat() const {
    fs::copy(folder_ / "data/train", folder_ / "flat", fs::copy_options::recursive);
    return at("flat");
  }
  TemporaryFolder folder_;
};

TEST_F(SplitProgram, TrainWritesALineAPicture) {
  const Result trained = tapescope_program(train(at("data"), "run"));
  ASSERT_EQ(trained.status, 0) << trained.err;
  std::istringstream lines(text_of(at("run/split.tsv")));
  std::map<std::string, int> parts;
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream words(line);
    for (std::string field; std::getline(words, field, '\t');) fields.push_back(field);
    ASSERT_EQ(fields.size(), 6u) << line;
    ++parts[fields[0]];
    EXPECT_TRUE(fields[1] == "red" || fields[1] == "blue");
    EXPECT_EQ(fs::file_size(folder_ / "data" / fields[4]), std::stoull(fields[2]));
    EXPECT_EQ(fields[3].size(), 16u);
  }
  EXPECT_EQ(parts["train"] + parts["validation"], 24);
  EXPECT_EQ(parts["test"], 8);
}

TEST_F(SplitProgram, EvaluationNeverSeesATrainingPicture) {
  const std::string data = flat();
  ASSERT_EQ(tapescope_program(train(data, "run", {"--test-fraction", "0.25"})).status, 0);
  const auto images = [&](const std::string& split) {
    const Result result =
        tapescope_program({"eval", "--run", at("run"), "--data", data, "--split", split, "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return std::pair(json::parse(result.out), result.err);
  };
  const json before = images("test").first;
  // Everything renamed, and the root.
  for (const char* label : {"red", "blue"}) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(fs::path(data) / label)) {
      files.push_back(entry.path());
    }
    int i = 0;
    for (const fs::path& file : files) {
      fs::rename(file, file.parent_path() / ("n" + std::to_string(i++) + ".png"));
    }
  }
  const json renamed = images("test").first;
  EXPECT_EQ(renamed, before);
  // A trained picture in a folder of test.
  fs::create_directories(folder_ / "asked/test/blue");
  fs::create_directories(folder_ / "asked/test/red");
  for (const char* label : {"red", "blue"}) {
    for (const auto& entry : fs::directory_iterator(fs::path(data) / label)) {
      fs::copy(entry.path(), folder_ / "asked/test" / label / entry.path().filename());
    }
  }
  const Result asked =
      tapescope_program({"eval", "--run", at("run"), "--data", at("asked"), "--json"});
  ASSERT_EQ(asked.status, 0) << asked.err;
  EXPECT_EQ(json::parse(asked.out)["images"], before["images"]);
  EXPECT_SAYS(asked.err, "used in training: left out of test");
}

TEST_F(SplitProgram, ResumingOnChangedDataAsksFirst) {
  const std::string data = flat();
  const Words first = train(data, "run", {"--epochs", "4", "--checkpoint-every", "1"});
  ASSERT_EQ(tapescope_program(first).status, 0);
  const Words resume{"train", "--resume", "--out", at("run")};
  ASSERT_EQ(tapescope_program(resume).status, 0) << "nothing changed";
  fs::rename(fs::path(data) / "red/10.png", fs::path(data) / "red/ten.png");
  ASSERT_EQ(tapescope_program(resume).status, 0) << "a name is no content";
  write_png(fs::path(data) / "red/new.png", coloured(0, 24, 5000));
  fs::rename(fs::path(data) / "red/11.png", fs::path(data) / "blue/x.png");
  fs::remove(fs::path(data) / "blue/12.png");
  const Result refused = tapescope_program(resume);
  EXPECT_EQ(refused.status, 2);
  EXPECT_SAYS(refused.err, "1 picture added (red/new.png)");
  EXPECT_SAYS(refused.err, "1 picture removed (blue/12.png)");
  EXPECT_SAYS(refused.err, "1 picture labelled otherwise (blue/x.png: blue, was red)");
  EXPECT_SAYS(refused.err, "--data-changed accept");
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1);
  Words accepted = resume;
  accepted.insert(accepted.end(), {"--data-changed", "accept"});
  const Result gone_on = tapescope_program(accepted);
  EXPECT_EQ(gone_on.status, 0) << gone_on.err;
  EXPECT_SAYS(gone_on.err, "the data changed");
  EXPECT_SAYS(text_of(at("run/split.tsv")), "blue/12.png");
  EXPECT_SAYS(text_of(at("run/split.tsv")), "red/new.png");
  // A class more.
  fs::create_directories(fs::path(data) / "green");
  write_png(fs::path(data) / "green/1.png", coloured(2, 24, 1));
  const Result other = tapescope_program(resume);
  EXPECT_EQ(other.status, 2);
  EXPECT_SAYS(other.err, "green");
  EXPECT_SAYS(other.err, "of the model (blue, red)");
  const Result longer =
      tapescope_program({"train", "--resume", "--out", at("run"), "--epochs", "8"});
  EXPECT_EQ(longer.status, 2);
  EXPECT_SAYS(longer.err, "--weights " + at("run/checkpoints/last.safetensors"));
}

// Pictures of one size, of the net's, then the user's own photo.
TEST_F(SplitProgram, SmallNetsTakePhotos) {
  write_colours(folder_ / "small", 28);
  ASSERT_EQ(tapescope_program(train(at("small"), "run", {"--epochs", "4"})).status, 0);
  write_png(folder_ / "photo.png", [] {
    Image photo(163, 121, 3);
    for (std::size_t i = 0; i < photo.pixels.size(); ++i) {
      photo.pixels[i] = i % 3 == 0 ? 200 : 40;
    }
    return photo;
  }());
  const auto red = [&] {
    const Result predicted =
        tapescope_program({"predict", "--run", at("run"), at("photo.png"), "--json"});
    EXPECT_EQ(predicted.status, 0) << predicted.err;
    return json::parse(predicted.out)["images"][0]["top"][0];
  };
  const json answer = red();
  EXPECT_EQ(answer["class"], "red");
  // A run made before has no Resize in its model file.
  for (const auto& entry : fs::directory_iterator(at("run/checkpoints"))) {
    if (entry.path().filename().string().starts_with("state")) continue;
    Safetensors file = read_safetensors(entry.path());
    json pipeline = json::parse(file.metadata.at("tapescope.pipeline"));
    ASSERT_EQ(pipeline[0]["type"], "Resize");
    pipeline.erase(0);
    file.metadata["tapescope.pipeline"] = pipeline.dump();
    write_safetensors(entry.path(), file.tensors, file.metadata);
  }
  EXPECT_EQ(red(), answer);
  fs::create_directories(folder_ / "mine/test/red");
  fs::create_directories(folder_ / "mine/test/blue");
  fs::copy(folder_ / "photo.png", folder_ / "mine/test/red/1.png");
  write_png(folder_ / "mine/test/blue/1.png", coloured(1, 50, 3));
  const Result evaluated =
      tapescope_program({"eval", "--run", at("run"), "--data", at("mine"), "--json"});
  ASSERT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_EQ(json::parse(evaluated.out)["images"], 2);
}

TEST_F(SplitProgram, OddSizesAreResizedWhateverTheFirstPicture) {
  write_colours(folder_ / "small", 32);
  write_png(folder_ / "small/train/red/zz.png", coloured(0, 150, 9));
  write_png(folder_ / "small/test/red/zz.png", coloured(0, 20, 10));
  for (const char* augment : {"none", "flip", "crop-flip", "auto", "resized-crop"}) {
    const Result trained = tapescope_program(
        train(at("small"), std::string("run-") + augment, {"--augment", augment}));
    EXPECT_EQ(trained.status, 0) << augment << ": " << trained.err;
    EXPECT_SAYS(trained.err, "training pictures are not 32x32 (one is 150x150)");
    EXPECT_TRUE(fs::exists(at(std::string("run-") + augment) + "/metrics.json"));
  }
}

TEST_F(SplitProgram, SaysThatThereIsNothingToTrainOn) {
  fs::remove_all(folder_ / "data/train");
  for (const Words& more : {Words{}, Words{"--plan"}}) {
    const Result result = tapescope_program(train(at("data"), "run", more));
    EXPECT_EQ(result.status, 2);
    EXPECT_SAYS(result.err, "has no training pictures");
  }
  put(folder_ / "idx/t10k-images-idx3-ubyte",
      std::string{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6});
  put(folder_ / "idx/t10k-labels-idx1-ubyte", std::string{0, 0, 8, 1, 0, 0, 0, 2, 0, 1});
  const Result idx = tapescope_program(train(at("idx"), "run"));
  EXPECT_EQ(idx.status, 2);
  EXPECT_SAYS(idx.err, "has no training pictures");
  const Result no_out = tapescope_program({"train", at("data")});
  EXPECT_EQ(no_out.status, 2);
  EXPECT_SAYS(no_out.err, "for instance --out runs/data");
}

TEST_F(SplitProgram, TheModelIsChosenByTheData) {
  const Result plan = tapescope_program({"train", at("data"), "--epochs", "1", "--plan", "--json"});
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_EQ(json::parse(plan.out)["model"], "resnet20");
  EXPECT_SAYS(plan.err, "--model auto: resnet20 at 24x24");
  const Result words = tapescope_program(train(at("data"), "run", {"--plan"}));
  EXPECT_SAYS(words.out, "test images of 2 classes");
  EXPECT_EQ(words.out.find("about 0 s"), std::string::npos) << words.out;
  Words small = train(at("data"), "run", {"--width", "0.25", "--epochs", "1"});
  small.erase(small.begin() + 2, small.begin() + 4);  // --model lenet
  ASSERT_EQ(tapescope_program(small).status, 0);
  EXPECT_SAYS(text_of(at("run/config.toml")), "model = \"resnet20\"");
}

TEST_F(SplitProgram, ABatchOfOneValueIsRefused) {
  const auto of = [&](const std::string& model, const std::string& size, const std::string& batch) {
    return tapescope_program({"train", at("data"), "--model", model, "--width", "0.1", "--epochs",
                              "1", "--image-size", size, "--batch-size", batch, "--plan",
                              "--validation-fraction", "0"});
  };
  const Result one = of("resnet18", "32", "1");
  EXPECT_EQ(one.status, 2);
  EXPECT_SAYS(one.err, "--batch-size");
  EXPECT_SAYS(one.err, "--image-size");
  const Result last = of("resnet18", "32", "23");  // 24 pictures: the last batch has one
  EXPECT_EQ(last.status, 2);
  EXPECT_SAYS(last.err, "24 training images in batches of 23");
  EXPECT_EQ(of("resnet18", "32", "12").status, 0);
  EXPECT_EQ(of("resnet18", "48", "1").status, 0) << "2x2 values there";
  EXPECT_EQ(of("lenet", "28", "1").status, 0) << "no batch normalisation";
}

TEST_F(SplitProgram, ARunThatSkippedBadPicturesSkipsThemLater) {
  put(folder_ / "data/train/red/broken.png", std::string("no picture"));
  ASSERT_EQ(tapescope_program(train(at("data"), "run", {"--on-bad-image", "skip"})).status, 0);
  const Result suspects =
      tapescope_program({"inspect", "training", "--run", at("run"), "--data", at("data")});
  EXPECT_EQ(suspects.status, 0) << suspects.err;
}

}  // namespace
}  // namespace tapescope
