// Whatever is wrong with annotated pictures, pictures to look at and streams: a clear sentence, the
// right exit status, and nothing lost of what was good.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class BadBoxes : public ::testing::Test {
 protected:
  static constexpr int kWidth = 48, kHeight = 32;
  // A detector that has seen next to nothing: what it finds does not matter here.
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    write_data(*shared_ / "data");
    trained_ =
        tapescope_program({"train", "--data", *shared_ / "data", "--model", "centre-detector",
                           "--width", "0.25", "--epochs", "1", "--out", run()});
  }
  static void TearDownTestSuite() { delete shared_; }
  void SetUp() override {
    ASSERT_EQ(trained_.status, 0) << trained_.err;
    write_data(data());
  }
  static Image picture(std::uint8_t grey) { return {kHeight, kWidth, 3, grey}; }
  static void write_data(const fs::path& folder) {
    put(folder / "ImageSets/Main/train.txt", std::string("a\nb\n"));
    put(folder / "ImageSets/Main/test.txt", std::string("c\n"));
    fs::create_directories(folder / "JPEGImages");
    for (const char* name : {"a", "b", "c"}) {
      write_png(folder / "JPEGImages" / (std::string(name) + ".png"), picture(120));
      annotate(folder, name, size(kWidth, kHeight) + object("cell", 5, 5, 20, 20));
    }
  }
  static void annotate(const fs::path& folder, const std::string& name, const std::string& inside) {
    put(folder / "Annotations" / (name + ".xml"), "<annotation>" + inside + "</annotation>");
  }
  static std::string size(int width, int height) {
    return fmt::format("<size><width>{}</width><height>{}</height></size>", width, height);
  }
  static std::string object(const std::string& name, int x0, int y0, int x1, int y1) {
    return fmt::format(
        "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
        "<ymax>{}</ymax></bndbox></object>",
        name, x0, y0, x1, y1);
  }
  static std::string run() { return *shared_ / "run"; }
  std::string data() const { return folder_ / "data"; }
  Words train() const {
    return {"train", "--data",   data(), "--model", "centre-detector", "--width",
            "0.25",  "--epochs", "1",    "--out",   folder_ / "run"};
  }
  Words detect(const Words& sources) const {
    Words words = {"detect", "--run", run(), "--json", "--threshold", "0"};
    words.insert(words.end(), sources.begin(), sources.end());
    return words;
  }
  static void expect_says(const std::string& text, const Words& parts) {
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
    }
  }
  // Exit status 2, and the last error on stderr holds all of `parts`. What came before it is kept,
  // so that figures may follow.
  static void expect_complaint(const Result& result, const Words& parts) {
    EXPECT_EQ(result.status, 2) << result.err << result.out;
    const std::size_t begin = ("\n" + result.err).rfind("\ntapescope: ");
    ASSERT_NE(begin, std::string::npos) << result.err;
    expect_says(result.err.substr(begin, result.err.find('\n', begin) - begin), parts);
  }
  static auto lines_of(const Result& result) {
    return std::count(result.out.begin(), result.out.end(), '\n');
  }
  static inline TemporaryFolder* shared_ = nullptr;
  static inline Result trained_;
  TemporaryFolder folder_;
};

TEST_F(BadBoxes, AnnotationsThatCannotBeUsed) {
  annotate(data(), "b", size(kWidth + 1, kHeight) + object("cell", 5, 5, 20, 20));
  expect_complaint(tapescope_program(train()), {"b.png", "48x32", "b.xml", "49x32"});
  annotate(data(), "b", size(kWidth, kHeight) + object("dog", 5, 5, 20, 20));
  expect_complaint(tapescope_program({"eval", "--run", run(), "--data", data()}),
                   {"b.xml", "does not know the class 'dog'", "it knows cell"});
  annotate(data(), "b", size(kWidth, kHeight) + object("cell", 5, 5, 20, 20) + "<filename>");
  expect_complaint(tapescope_program(train()), {"b.xml", "XML"});
  annotate(data(), "b", size(kWidth, kHeight));
  fs::remove(fs::path(data()) / "JPEGImages/b.png");
  expect_complaint(tapescope_program(train()), {"b.xml", "JPEGImages"});
  put(fs::path(data()) / "JPEGImages/b.png", std::string("no picture"));
  expect_complaint(tapescope_program(train()), {"b.png", "not a picture", "replace or remove"});
  EXPECT_FALSE(fs::exists(folder_ / "run")) << "a refused command left something behind";
}

TEST_F(BadBoxes, AnnotationsThatAreMendedAreCounted) {
  annotate(data(), "a",
           object("cell", 5, 5, 20, 20) + object("cell", 30, 5, 20, 9) +
               object("cell", 90, 90, 95, 95) + object("cell", 40, 20, 60, 60));
  const Result result = tapescope_program(train());
  EXPECT_EQ(result.status, 0) << result.err;
  expect_says(result.err,
              {"1 annotations say no size", "1 boxes are inverted", "1 boxes have no area inside",
               "1 boxes reach out", "a.xml", "2 training images with 3 objects"});
}

TEST_F(BadBoxes, DataWithoutObjects) {
  const std::string none = size(kWidth, kHeight), some = none + object("cell", 5, 5, 20, 20);
  for (const char* name : {"a", "b"}) annotate(data(), name, none);
  expect_complaint(tapescope_program(train()), {"2 training images", "all its objects"});
  annotate(data(), "c", none);
  expect_complaint(tapescope_program(train()), {"3 pictures", "not one object"});
  // A test set of nothing: there is no precision, and it is said.
  for (const char* name : {"a", "b"}) annotate(data(), name, some);
  const Result evaluated = tapescope_program({"eval", "--run", run(), "--data", data()});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  expect_says(evaluated.out, {"-1.0000", "-1: no such objects", "0 objects missed"});
  put(fs::path(data()) / "ImageSets/Main/val.txt", std::string("c\n"));
  const Result trained = tapescope_program(train());
  EXPECT_EQ(trained.status, 0) << trained.err;
  expect_says(trained.err, {"1 validation images have no objects"});
  fs::create_directories(folder_ / "empty");
  Words command = train();
  command[2] = folder_ / "empty";
  expect_complaint(tapescope_program(command), {"no annotated pictures", "VOC", "COCO", "YOLO"});
}

TEST_F(BadBoxes, ABatchLargerThanTheDataIsSaidAndNotReckonedWith) {
  Words command = train();
  command.insert(command.end(), {"--batch-size", "512", "--validation-fraction", "0"});
  const Result result = tapescope_program(command);
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string config = text_of(folder_ / "run/config.toml");
  expect_says(result.err, {"--batch-size 512: there are 2 training pictures"});
  expect_says(config, {"\nbatch-size = 512\n", "\nlr = 0.00125\n"});  // 2.5e-3 sqrt(2 / 8)
}

TEST_F(BadBoxes, PicturesThatCannotBeReadAreLeftOutWhereItIsSaid) {
  const fs::path bad = fs::path(data()) / "JPEGImages/b.png";
  const std::vector<std::uint8_t> whole = get(bad);
  put(bad, std::span(whole.data(), whole.size() - 20));
  put(fs::path(data()) / "ImageSets/Main/test.txt", std::string("b\nc\n"));
  Words command = train();
  command.insert(command.end(), {"--on-bad-image", "skip"});
  const Result trained = tapescope_program(command);
  EXPECT_EQ(trained.status, 0) << trained.err;
  expect_says(trained.err, {"left out: ", "b.png", "2 pictures cannot be read and were left out",
                            "1 training image with 1 object,"});
  const Words eval = {"eval", "--run", run(), "--data", data(), "--json"};
  expect_complaint(tapescope_program(eval), {"b.png", "cut off"});
  Words skipping = eval;
  skipping.insert(skipping.end(), {"--on-bad-image", "skip"});
  const Result evaluated = tapescope_program(skipping);
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  expect_says(evaluated.err, {"left out: ", "b.png"});
  EXPECT_EQ(nlohmann::json::parse(evaluated.out)["images"], 1);
}

TEST_F(BadBoxes, NamesThatLeaveTheFolder) {
  put(folder_ / "labels/a.txt", std::string("0 0.5 0.5 0.4 0.4\n"));
  fs::create_directories(folder_ / "images");
  write_png(folder_ / "images/a.png", picture(120));
  put(folder_ / "other/data.yaml", std::string("names: [cell]\ntrain: ../images\n"));
  Words command = train();
  command[2] = folder_ / "other";
  expect_complaint(tapescope_program(command), {"data.yaml", "'../images'", "--allow-outside"});
  command.push_back("--allow-outside");
  const Result trained = tapescope_program(command);
  EXPECT_EQ(trained.status, 0) << trained.err;
  // What was allowed once is of the run.
  const Words kept = {"--out", folder_ / "run"};
  for (const Words& words : {Words{"train", "--resume"}, Words{"verify-run"}}) {
    Words again = words;
    again.insert(again.end(), kept.begin() + (words[0] == "train" ? 0 : 1), kept.end());
    const Result went_on = tapescope_program(again);
    EXPECT_EQ(went_on.status, 0) << words[0] << went_on.err;
  }
  const Words others[] = {{"eval", "--split", "train"},
                          {"report", "--split", "train", "--out", folder_ / "r.html", "--images",
                           "1", "--quality", "0"},
                          {"benchmark-explanations", "--split", "train", "--limit", "1"},
                          {"inspect", "activations", "--split", "train"}};
  for (Words words : others) {
    words.insert(words.end(), {"--run", run(), "--data", folder_ / "other"});
    const Result refused = tapescope_program(words);
    EXPECT_NE(refused.err.find("--allow-outside"), std::string::npos) << words[0] << refused.err;
    EXPECT_EQ(refused.status, 2) << words[0];
    words.push_back("--allow-outside");
    const Result allowed = tapescope_program(words);
    EXPECT_EQ(allowed.err.find("outside"), std::string::npos) << words[0] << allowed.err;
    // This detector finds nothing whose map could be judged.
    EXPECT_EQ(allowed.status, words[0] == "benchmark-explanations" ? 2 : 0) << allowed.err;
  }
}

TEST_F(BadBoxes, ManyObjectsInOnePicture) {
  std::string objects;
  for (int i = 0; i < 10000; ++i) {
    // No two of them alike, within the picture or beyond its right side.
    objects += object("cell", 1 + i % 40, 1 + i / 40 % 25, 6 + i % 40 + i / 1000, 6 + i / 40 % 25);
  }
  for (const char* name : {"a", "c"}) annotate(data(), name, size(kWidth, kHeight) + objects);
  const Result result = tapescope_program(train());
  EXPECT_EQ(result.status, 0) << result.err;
  expect_says(result.err, {"2 training images with 10001 objects"});
  const Result evaluated = tapescope_program({"eval", "--run", run(), "--data", data()});
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  expect_says(evaluated.out, {"10000"});
}

TEST_F(BadBoxes, PicturesThatCannotBeRead) {
  const fs::path pictures = folder_ / "pictures";
  fs::create_directories(pictures);
  expect_complaint(tapescope_program(detect({pictures})), {"pictures", "holds no pictures"});
  put(pictures / "notes.txt", std::string("words"));
  expect_complaint(tapescope_program(detect({pictures})), {"pictures", "holds no pictures"});
  write_png(pictures / "1.png", picture(10));
  write_png(pictures / "3.png", picture(20));
  const Result passed_over = tapescope_program(detect({pictures}));
  EXPECT_EQ(passed_over.status, 0) << passed_over.err;
  EXPECT_EQ(lines_of(passed_over), 2);
  expect_says(passed_over.err, {"1 files in", "passed over", "notes.txt"});
  // What is behind a broken picture is looked at all the same.
  put(pictures / "2.png", std::string("words"));
  const Result most = tapescope_program(detect({pictures}));
  expect_complaint(most, {"2.png", "not a picture"});
  expect_says(most.err, {"1 of 3 could not be read"});
  EXPECT_EQ(lines_of(most), 3);  // the broken one's says so
  EXPECT_NE(most.out.find("3.png"), std::string::npos);
  expect_complaint(tapescope_program(detect({pictures / "2.png"})), {"2.png: is not a picture"});
}

TEST_F(BadBoxes, PicturesOfOneName) {
  const fs::path pictures = folder_ / "pictures";
  for (const char* inside : {"one", "two"}) {
    fs::create_directories(pictures / inside);
    write_png(pictures / inside / "same.png", picture(10));
  }
  EXPECT_EQ(tapescope_program(detect({pictures})).status, 0);
  expect_complaint(tapescope_program(detect({pictures, "--out", folder_ / "out"})),
                   {"one/same.png", "two/same.png", "--out"});
  EXPECT_FALSE(fs::exists(folder_ / "out/same.png"));
}

TEST_F(BadBoxes, StreamsThatAreCutOrChange) {
  const auto ppm = [](int width, int height) {
    return fmt::format("P6\n{} {}\n255\n", width, height) +
           std::string(static_cast<std::size_t>(width * height * 3), 'x');
  };
  const std::string frame = ppm(kWidth, kHeight);
  const std::string planes(static_cast<std::size_t>(kWidth * kHeight * 3 / 2), 'x');
  const std::string y4m = fmt::format("YUV4MPEG2 W{} H{} F25:1 C420\n", kWidth, kHeight);
  const std::string y4m_frame = "FRAME\n" + planes;
  const std::string cut = planes.substr(10);
  const struct {
    std::string bytes;
    Words parts;
  } streams[] = {
      {frame + frame + frame.substr(0, 99), {"standard input", "middle of frame 2", "whole"}},
      {y4m + y4m_frame + y4m_frame + "FRAME\n" + cut, {"middle of frame 2", "whole"}},
      {frame + frame + ppm(10, 10) + frame, {"frame 2 is 10x10", "first was 48x32", "scale"}},
      {frame + frame + "and then words", {"frame 2", "P6"}},
      {y4m + y4m_frame + y4m_frame + y4m + y4m_frame, {"frame 2", "FRAME"}}};
  for (const auto& stream : streams) {
    put(folder_ / "stream", stream.bytes);
    const Result result = tapescope_program(detect({"-"}), folder_ / "stream");
    expect_complaint(result, stream.parts);
    EXPECT_EQ(lines_of(result), 2) << "the frames before are looked at";
  }
  // And written: drawn, and in every form.
  put(folder_ / "stream", streams[0].bytes);
  const std::string out = folder_ / "out";
  expect_complaint(tapescope_program(detect({"-", "--out", out, "--format", "coco,yolo,voc"}),
                                     folder_ / "stream"),
                   {"middle of frame 2"});
  for (const char* name : {"000000.png", "000001.txt", "000001.xml", "detections.json"}) {
    EXPECT_TRUE(fs::exists(fs::path(out) / name)) << name;
  }
  put(folder_ / "stream", std::string());
  expect_complaint(tapescope_program(detect({"-"}), folder_ / "stream"), {"has no frames"});
}

// What a picture is called, and whether its boxes are listed, does not depend on what else is
// looked at.
TEST_F(BadBoxes, PicturesBesideAStreamKeepTheirNames) {
  const std::string frame = fmt::format("P6\n{} {}\n255\n", kWidth, kHeight) +
                            std::string(static_cast<std::size_t>(kWidth * kHeight * 3), 'x');
  put(folder_ / "stream", frame + frame);
  put(folder_ / "cells.ppm", frame);
  put(folder_ / "000001.ppm", frame);
  const std::string out = folder_ / "out", cells = folder_ / "cells.ppm";
  const Result result =
      tapescope_program(detect({cells, "-", "--out", out, "--format", "yolo"}), folder_ / "stream");
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(lines_of(result), 3);
  std::set<std::string> written;
  for (const auto& entry : fs::directory_iterator(out)) written.insert(entry.path().filename());
  EXPECT_EQ(written, (std::set<std::string>{"000001.png", "000001.txt", "000002.png", "000002.txt",
                                            "cells.png", "cells.txt", "classes.txt"}));
  expect_complaint(tapescope_program(
                       detect({(folder_ / "000001.ppm").string(), "-", "--out", folder_ / "other"}),
                       folder_ / "stream"),
                   {"called as a frame of a video"});
}

TEST_F(BadBoxes, Options) {
  Words command = train();
  command.insert(command.end(), {"--augment", "rotate"});
  expect_complaint(tapescope_program(command), {"rotate", "flip-both", "mosaic"});
  expect_complaint(tapescope_program(detect({"x.png", "--format", "pdf"})), {"pdf", "yolo"});
  expect_complaint(tapescope_program(detect({"x.png", "--format", "yolo"})), {"--out"});
}

}  // namespace
}  // namespace tapescope
