// The third task from end to end: pictures with any number of labels.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// 16x16: a red band above, a blue band below, either, both or none.
void write_bands(const fs::path& folder, int count) {
  fs::create_directories(folder);
  std::ofstream table(folder / "labels.csv");
  table << "file,labels,split\n";
  for (int i = 0; i < count; ++i) {
    PhiloxStream random(static_cast<std::uint64_t>(i));
    Image image(16, 16, 3);
    for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(100 + random.below(30));
    const bool red = i % 2 == 1, blue = i / 2 % 2 == 1;
    const auto band = [&](int channel, int from) {
      for (int y = from; y < from + 4; ++y) {
        for (int x = 0; x < 16; ++x) image.at(y, x)[channel] = 250;
      }
    };
    if (red) band(0, 2);
    if (blue) band(2, 10);
    const std::string name = "p" + std::to_string(i) + ".png";
    write_png(folder / name, image);
    table << name << "," << (red ? "red" : "") << (red && blue ? ";" : "") << (blue ? "blue" : "")
          << ","
          << (i % 8 >= 6   ? "test"
              : i % 8 >= 4 ? "val"
                           : "train")
          << "\n";
  }
}

class MultiLabel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_bands(*folder_ / "data", 96);
    trained_ = tapescope_program({"train", "--data", data(), "--model", "lenet", "--image-size",
                                  "28", "--epochs", "12", "--batch-size", "8", "--augment", "none",
                                  "--out", out()});
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string data() { return (*folder_ / "data").string(); }
  static std::string out() { return (*folder_ / "run").string(); }
  static TemporaryFolder* folder_;
  static Result trained_;
};
TemporaryFolder* MultiLabel::folder_ = nullptr;
Result MultiLabel::trained_;

TEST_F(MultiLabel, LearnsBothLabels) {
  ASSERT_EQ(trained_.status, 0) << trained_.err;
  const Result eval = tapescope_program({"eval", "--run", out(), "--data", data(), "--json"});
  ASSERT_EQ(eval.status, 0) << eval.err;
  const json numbers = json::parse(eval.out);
  EXPECT_GT(numbers["mean_average_precision"], 0.95) << eval.out;
  EXPECT_EQ(numbers["images"], 24);
  ASSERT_EQ(numbers["labels"].size(), 2u);
  EXPECT_EQ(numbers["labels"][0]["name"], "blue");
  EXPECT_GT(numbers["labels"][0]["f1"], 0.9);
  const json metrics = json::parse(text_of(*folder_ / "run/metrics.json"));
  EXPECT_DOUBLE_EQ(metrics["test_map"], numbers["mean_average_precision"]);
}

TEST_F(MultiLabel, PredictsEachLabelOnItsOwn) {
  const Result answer = tapescope_program(
      {"predict", "--run", out(), data() + "/p7.png", data() + "/p4.png", "--json"});
  ASSERT_EQ(answer.status, 0) << answer.err;
  const json images = json::parse(answer.out)["images"];
  for (const json& label : images[0]["top"]) EXPECT_GT(label["probability"], 0.5) << answer.out;
  for (const json& label : images[1]["top"]) EXPECT_LT(label["probability"], 0.5) << answer.out;
}

// What speaks for a label lies in its band.
TEST_F(MultiLabel, ExplainsWhereALabelIs) {
  const std::string maps = (*folder_ / "maps").string();
  for (const auto& [label, upper] : {std::pair{"red", true}, {"blue", false}}) {
    const Result explained =
        tapescope_program({"explain", "--run", out(), data() + "/p7.png", "--target", label,
                           "--method", "grad-cam,occlusion", "--score", "--out", maps, "--json"});
    ASSERT_EQ(explained.status, 0) << explained.err;
    const json result = json::parse(explained.out);
    ASSERT_EQ(result["maps"].size(), 2u);
    EXPECT_EQ(result["maps"][0]["target"], label);
    EXPECT_TRUE(result["maps"][1]["quality"].contains("deletion"));
    // Rows of the map are of the input; the bands are in the upper and the lower half.
    const Safetensors stored = read_safetensors(*folder_ / "maps/maps.safetensors");
    const Tensor& map = *stored.find("p7.occlusion");
    const std::int64_t h = map.shape()[1], a_row = map.elements() / h;
    double in_half[2] = {0, 0};
    for (std::int64_t i = 0; i < map.elements(); ++i) {
      in_half[i / a_row < h / 2 ? 0 : 1] += std::max(0.0, map.item(i));
    }
    EXPECT_GT(in_half[upper ? 0 : 1], 1.5 * in_half[upper ? 1 : 0]) << label;
  }
}

TEST_F(MultiLabel, EveryCommandWorks) {
  const std::string page = (*folder_ / "page/report.html").string();
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"inspect", "structure", "--run", out()},
        {"inspect", "parameters", "--run", out()},
        {"inspect", "activations", "--run", out(), "--data", data(), "--limit", "8"},
        {"inspect", "training", "--run", out(), "--data", data()},
        {"benchmark-explanations", "--run", out(), "--data", data(), "--limit", "2", "--method",
         "saliency,grad-cam"},
        {"report", "--run", out(), "--data", data(), "--images", "2", "--quality", "1", "--out",
         page},
        {"verify-run", out(), "--steps", "3"}}) {
    const Result result = tapescope_program(command);
    EXPECT_EQ(result.status, 0) << command[0] << " " << command[1] << ": " << result.err;
  }
  const std::string html = text_of(page);
  EXPECT_NE(html.find("average precision"), std::string::npos);
  EXPECT_NE(html.find("The mAP, the mean of the labels"), std::string::npos)
      << "the page begins with how good the answers are";
}

TEST_F(MultiLabel, RefusesWhatOneClassPerPictureHas) {
  EXPECT_EQ(tapescope_program({"eval", "--run", out(), "--data", data(), "--wrong"}).status, 2);
  const Result detect = tapescope_program({"detect", "--run", out(), data() + "/p1.png"});
  EXPECT_EQ(detect.status, 2);
  EXPECT_NE(detect.err.find("labels"), std::string::npos) << detect.err;
}

TEST_F(MultiLabel, ResumesAndNamesItsTask) {
  const std::string more = (*folder_ / "more").string();
  ASSERT_EQ(tapescope_program({"train", "--data", data(), "--task", "multi-label", "--model",
                               "lenet", "--image-size", "28", "--epochs", "1", "--out", more})
                .status,
            0);
  const Result resumed = tapescope_program({"train", "--resume", "--out", more});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_NE(text_of(*folder_ / "more/checkpoints/best.safetensors")
                .find("\"tapescope.task\":\"multi-label\""),
            std::string::npos);
  const Result unknown = tapescope_program(
      {"train", "--data", data(), "--task", "poetry", "--out", (*folder_ / "x").string()});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("known are"), std::string::npos) << unknown.err;
}

// What is left out of the data, and what of it has changed, is told in every task.
TEST_F(MultiLabel, TellsWhatIsLeftOutAndWhatHasChanged) {
  const fs::path pictures = *folder_ / "changing";
  const std::string more = (*folder_ / "left-out").string();
  write_bands(pictures, 32);
  std::ofstream(pictures / "p1.png") << "no picture";
  const Result trained =
      tapescope_program({"train", "--data", pictures.string(), "--model", "lenet", "--image-size",
                         "28", "--epochs", "1", "--on-bad-image", "skip", "--out", more});
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(trained.err.find("left out: "), std::string::npos) << trained.err;
  EXPECT_NE(trained.err.find("p1.png"), std::string::npos) << trained.err;
  // Another one is gone, from the table too.
  fs::remove(pictures / "p2.png");
  std::string table = text_of(pictures / "labels.csv");
  const std::string line = "p2.png,blue,train\n";
  ASSERT_NE(table.find(line), std::string::npos) << table;
  std::ofstream(pictures / "labels.csv") << table.erase(table.find(line), line.size());
  std::vector<std::string> command{"train", "--resume", "--out", more};
  const Result refused = tapescope_program(command);
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("--data-changed accept"), std::string::npos) << refused.err;
  command.insert(command.end(), {"--data-changed", "accept"});
  const Result accepted = tapescope_program(command);
  EXPECT_EQ(accepted.status, 0) << accepted.err;
  EXPECT_NE(accepted.err.find("the data changed since the training began: "), std::string::npos)
      << accepted.err;
  EXPECT_NE(accepted.err.find("left out: "), std::string::npos) << accepted.err;
}

}  // namespace
}  // namespace tapescope
