// A detector's ONNX file stands wherever a detector's run does: detect, predict, explain, eval,
// report, inspect.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/says.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class OnnxDetectorProgram : public testing::Test {
 protected:
  static std::string net(const std::string& name = "yolov8") {
    return fixture("detectors/" + name + ".onnx").string();
  }
  void SetUp() override {
    fs::create_directories(test());
    for (int i = 0; i < 3; ++i) {
      // Squares, in pictures wider than the net's input.
      Image image(40, 120, 3);
      PhiloxStream random(static_cast<std::uint64_t>(i));
      std::uint8_t colours[5][15][3];
      for (auto& row : colours) {
        for (auto& square : row) {
          for (std::uint8_t& v : square) v = static_cast<std::uint8_t>(random.below(256));
        }
      }
      for (int y = 0; y < 40; ++y) {
        for (int x = 0; x < 120; ++x) std::copy_n(colours[y / 8][x / 8], 3, image.at(y, x));
      }
      write_png(test() / fmt::format("{}.png", i), image);
    }
    const Result once = on({"predict", picture()});
    if (once.err.find("which this build does not read") != std::string::npos)
      GTEST_SKIP() << once.err;
    ASSERT_EQ(once.status, 0) << once.err;
  }
  static Result on(std::vector<std::string> words, const std::string& model = net()) {
    words.insert(words.end(), {"--model", model});
    return tapescope_program(words);
  }
  // What is found becomes what is annotated.
  json annotate(const std::string& model, const std::string& threshold) const {
    const Result found = on({"detect", test(), "--threshold", threshold, "--format", "coco",
                             "--out", folder / "found", "--no-pictures"},
                            model);
    EXPECT_EQ(found.status, 0) << found.err;
    json data = json::parse(text_of(folder / "found/detections_dataset.json"));
    for (json& image : data["images"]) {
      image["file_name"] = fs::path(image["file_name"].get<std::string>()).filename().string();
    }
    std::ofstream(test() / "_annotations.coco.json") << data.dump();
    return data;
  }
  fs::path test() const { return folder / "data/test"; }
  std::string data() const { return (folder / "data").string(); }
  std::string picture() const { return (test() / "0.png").string(); }
  static void expect_refused(const Result& result, const std::string& part) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_SAYS(result.err, part);
  }
  TemporaryFolder folder;
};

TEST_F(OnnxDetectorProgram, DetectsInAFolderWithTheNamesOfTheFile) {
  const Result result = on({"detect", test(), "--threshold", "0.3", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_SAYS(result.err,
              "its head is read as yolov8: 3 classes at 126 cells of strides 8, 16, 32");
  EXPECT_SAYS(result.out, "dog's");
  std::istringstream lines(result.out);
  int pictures = 0, boxes = 0;
  for (std::string line; std::getline(lines, line); ++pictures) {
    const json frame = json::parse(line);
    for (const json& box : frame.at("boxes")) {
      ++boxes;
      const json& b = box.at("box");
      EXPECT_GE(b[0].get<double>(), 0);
      EXPECT_GE(b[1].get<double>(), 0);
      EXPECT_LE(b[0].get<double>() + b[2].get<double>(), 120.001);
      EXPECT_LE(b[1].get<double>() + b[3].get<double>(), 40.001);
    }
  }
  EXPECT_EQ(pictures, 3);
  EXPECT_GT(boxes, 3);
}

TEST_F(OnnxDetectorProgram, IsRightAboutWhatItFoundItself) {
  for (const char* name : {"yolov8", "yolov5", "yolox", "yolo26"}) {
    const json annotated = annotate(net(name), "0.3");
    ASSERT_GT(annotated["annotations"].size(), 0u) << name;
    const Result result = on({"eval", "--data", data(), "--json"}, net(name));
    ASSERT_EQ(result.status, 0) << result.err;
    const json scores = json::parse(result.out);
    // Boxes that lie apart in the input may be one and the same once they are clipped to the
    // picture.
    const bool apart = name == std::string("yolov8") || name == std::string("yolox");
    EXPECT_NEAR(scores.at("ap").get<double>(), 1, apart ? 1e-12 : 0.1) << name;
    EXPECT_EQ(scores.at("images"), 3);
    EXPECT_TRUE(scores.at("loss").is_null()) << "there is none";
  }
}

TEST_F(OnnxDetectorProgram, ExplainsBoxesSidesAndWhatIsMissed) {
  const Result all = on({"explain", picture(), "--box", "all", "--threshold", "0.3", "--method",
                         "odam,lrp-epsilon-plus,saliency", "--out", folder / "maps", "--json"});
  ASSERT_EQ(all.status, 0) << all.err;
  EXPECT_SAYS(all.out, "\"stride\"");
  const Result side = on(
      {"explain", picture(), "--side", "left", "--method", "saliency", "--out", folder / "left"});
  ASSERT_EQ(side.status, 0) << side.err;
  EXPECT_SAYS(side.out + side.err, "left side");
  const Result at =
      on({"explain", picture(), "--at", "60,20", "--method", "saliency", "--out", folder / "at"});
  ASSERT_EQ(at.status, 0) << at.err;
  EXPECT_SAYS(at.out + at.err, "of stride");
  // An object where no box is.
  json annotated = annotate(net(), "0.3");
  json lost = annotated["annotations"].at(0);
  lost["id"] = 1000, lost["bbox"] = {1, 1, 3, 37}, lost["area"] = 111;
  annotated["annotations"].push_back(lost);
  std::ofstream(test() / "_annotations.coco.json") << annotated.dump();
  std::string file;
  for (const json& image : annotated["images"]) {
    if (image["id"] == lost["image_id"]) file = image["file_name"].get<std::string>();
  }
  const Result missed = on({"explain", test() / file, "--missed", "--data", data(), "--method",
                            "saliency", "--out", folder / "missed"});
  ASSERT_EQ(missed.status, 0) << missed.err;
  EXPECT_SAYS(missed.out + missed.err, "was missed");
  const Result objectness = on({"explain", picture(), "--side", "objectness", "--threshold", "0.05",
                                "--method", "saliency", "--out", folder / "object"},
                               net("yolox"));
  ASSERT_EQ(objectness.status, 0) << objectness.err;
}

TEST_F(OnnxDetectorProgram, IsReportedAndInspected) {
  annotate(net(), "0.3");
  const Result report = on(
      {"report", "--data", data(), "--images", "2", "--quality", "1", "--out", folder / "r.html"});
  ASSERT_EQ(report.status, 0) << report.err;
  EXPECT_GT(fs::file_size(folder / "r.html"), 10'000u);
  const Result structure = on({"inspect", "structure", "--json"}, net("yolo26"));
  ASSERT_EQ(structure.status, 0) << structure.err;
  EXPECT_SAYS(structure.err, "is left out: it chooses among the boxes");
}

TEST_F(OnnxDetectorProgram, RefusesWhatIsNoHeadByName) {
  expect_refused(on({"predict", picture(), "--head", "yolov1"}),
                 "there is no --head 'yolov1'; known are yolov8, yolov5, yolox, yolo26, raw");
  expect_refused(on({"predict", picture(), "--image-size", "64"}), "not of --image-size 64");
  std::ofstream(folder / "two.txt") << "a\nb\n";
  expect_refused(on({"predict", picture(), "--class-names", folder / "two.txt"}),
                 "answers 3 numbers, but 2 classes are named");
  // A classifier's scores.
  expect_refused(on({"predict", picture(), "--head", "yolov8", "--image-size", "16"},
                    fixture("onnx/residual-new.onnx").string()),
                 "a detector's answers of all cells are");
  expect_refused(on({"explain", picture(), "--side", "objectness", "--method", "saliency", "--out",
                     folder / "maps"}),
                 "no 'objectness'");
}

}  // namespace
}  // namespace tapescope
