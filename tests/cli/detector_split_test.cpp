// A detector's pictures stay in the split that they were trained in, whatever becomes of the folder
// and whichever form its annotations have.
#include <nlohmann/json.hpp>
#include <set>

#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"
#include "tests/says.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;
namespace fs = std::filesystem;

class DetectorSplit : public ::testing::Test {
 protected:
  static constexpr int kPictures = 24;
  std::string at(const std::string& name) const { return folder_ / name; }

  // Three forms of the same annotated pictures, none of which names validation pictures.
  void voc(const std::string& name, int first = 0, int count = kPictures) {
    for (int i = first; i < first + count; ++i) {
      const auto& [picture, bar, x, y, w, h] = SquareOrBar("train", i);
      fs::create_directories(folder_ / name / "JPEGImages");
      write_png(folder_ / name / fmt::format("JPEGImages/{:02}.png", i), picture);
      put(folder_ / name / fmt::format("Annotations/{:02}.xml", i),
          fmt::format("<annotation><size><width>64</width><height>48</height></size><object><name>"
                      "{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}"
                      "</ymax></bndbox></object></annotation>",
                      bar ? "bar" : "square", x + 1, y + 1, x + w, y + h));
    }
  }
  void coco(const std::string& name) {
    json images = json::array(), annotations = json::array();
    fs::create_directories(folder_ / name / "images");
    for (int i = 0; i < kPictures; ++i) {
      const auto& [picture, bar, x, y, w, h] = SquareOrBar("train", i);
      const std::string file = fmt::format("{:02}.png", i);
      write_png(folder_ / name / "images" / file, picture);
      images.push_back({{"id", i}, {"file_name", file}, {"width", 64}, {"height", 48}});
      annotations.push_back(
          {{"id", i}, {"image_id", i}, {"category_id", bar ? 7 : 3}, {"bbox", {x, y, w, h}}});
    }
    put(folder_ / name / "train.json",
        json{{"images", images},
             {"annotations", annotations},
             {"categories", {{{"id", 3}, {"name", "square"}}, {{"id", 7}, {"name", "bar"}}}}}
            .dump());
  }
  void yolo(const std::string& name) {
    put(folder_ / name / "data.yaml", std::string("train: images/train\nnames: [square, bar]\n"));
    fs::create_directories(folder_ / name / "images/train");
    for (int i = 0; i < kPictures; ++i) {
      const auto& [picture, bar, x, y, w, h] = SquareOrBar("train", i);
      write_png(folder_ / name / fmt::format("images/train/{:02}.png", i), picture);
      put(folder_ / name / fmt::format("labels/train/{:02}.txt", i),
          fmt::format("{} {} {} {} {}\n", bar ? 1 : 0, (x + w / 2.0) / 64, (y + h / 2.0) / 48,
                      w / 64.0, h / 48.0));
    }
  }
  Words train(const std::string& data, const std::string& run, const Words& more = {}) const {
    Words words{"train",   "--data", at(data),   "--model", "centre-detector",
                "--width", "0.25",   "--epochs", "2",       "--batch-size",
                "8",       "--out",  at(run)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  // split -> names of pictures' files, as RUN/split.tsv has them.
  std::map<std::string, std::set<std::string>> splits(const std::string& run) const {
    std::map<std::string, std::set<std::string>> parts;
    std::istringstream lines(text_of(at(run + "/split.tsv")));
    for (std::string line; std::getline(lines, line);) {
      std::vector<std::string> fields;
      std::istringstream words(line);
      for (std::string field; std::getline(words, field, '\t');) fields.push_back(field);
      if (fields.size() != 6) return {};
      parts[fields[0]].insert(fs::path(fields[4]).filename());
    }
    return parts;
  }
  Result eval(const std::string& run, const std::string& data, const std::string& split) const {
    return tapescope_program(
        {"eval", "--run", at(run), "--data", at(data), "--split", split, "--json"});
  }
  std::int64_t images(const std::string& run, const std::string& data,
                      const std::string& split) const {
    const Result result = eval(run, data, split);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.status == 0 ? json::parse(result.out)["images"].get<std::int64_t>() : -1;
  }
  TemporaryFolder folder_;
};

TEST_F(DetectorSplit, EveryFormDrawsTheSameValidationPicturesByContent) {
  voc("voc");
  coco("coco");
  yolo("yolo");
  std::set<std::string> drawn;
  for (const char* form : {"voc", "coco", "yolo"}) {
    const std::string run = std::string("run-") + form;
    const Result trained = tapescope_program(train(form, run));
    ASSERT_EQ(trained.status, 0) << form << ": " << trained.err;
    ASSERT_TRUE(fs::exists(at(run + "/split.tsv"))) << form;
    auto parts = splits(run);
    EXPECT_GE(parts["validation"].size(), 1u) << form;
    EXPECT_EQ(parts["train"].size() + parts["validation"].size(), std::size_t{kPictures}) << form;
    EXPECT_SAYS(trained.err, "no validation pictures are named");
    if (drawn.empty()) drawn = parts["validation"];
    EXPECT_EQ(parts["validation"], drawn) << form;
    EXPECT_EQ(images(run, form, "validation"), static_cast<std::int64_t>(drawn.size())) << form;
  }
  // Half of them, and a test split.
  const Result halved = tapescope_program(
      train("yolo", "half", {"--validation-fraction", "0.5", "--test-fraction", "0.3"}));
  ASSERT_EQ(halved.status, 0) << halved.err;
  auto parts = splits("half");
  EXPECT_GT(parts["validation"].size(), drawn.size());
  EXPECT_GT(parts["test"].size(), 1u);
  EXPECT_EQ(images("half", "yolo", "test"), static_cast<std::int64_t>(parts["test"].size()));
}

TEST_F(DetectorSplit, PicturesStayInTheirSplitWhateverTheirNames) {
  voc("data");
  ASSERT_EQ(tapescope_program(train("data", "run", {"--test-fraction", "0.25"})).status, 0);
  auto before = splits("run");
  ASSERT_GE(before["test"].size(), 1u);
  // The same pictures, annotated in another form, in other folders and joined by new ones.
  for (int i = 0; i < kPictures; ++i) {
    for (const char* kind : {"JPEGImages/{:02}.png", "Annotations/{:02}.xml"}) {
      const std::string from = fmt::format(fmt::runtime(kind), i);
      const fs::path path = folder_ / "data" / from;
      fs::rename(path, path.parent_path() / ("n" + path.filename().string()));
    }
  }
  voc("data", 100, 6);
  EXPECT_EQ(images("run", "data", "train"), static_cast<std::int64_t>(before["train"].size()));
  EXPECT_EQ(images("run", "data", "validation"),
            static_cast<std::int64_t>(before["validation"].size()));
  EXPECT_GE(images("run", "data", "test"), static_cast<std::int64_t>(before["test"].size()));
  // All of them as somebody's test split.
  voc("asked");
  std::string list;
  for (int i = 0; i < kPictures; ++i) list += fmt::format("{:02}\n", i);
  put(folder_ / "asked/ImageSets/Main/test.txt", list);
  EXPECT_EQ(images("run", "asked", "test"), static_cast<std::int64_t>(before["test"].size()));
  EXPECT_SAYS(eval("run", "asked", "test").err, "used in training: left out of test");
}

TEST_F(DetectorSplit, ResumingOnChangedDataAsksFirst) {
  voc("data");
  const Words first = train("data", "run", {"--checkpoint-every", "1"});
  ASSERT_EQ(tapescope_program(first).status, 0);
  const Words resume{"train", "--resume", "--out", at("run")};
  ASSERT_EQ(tapescope_program(resume).status, 0) << "nothing changed";
  voc("data", 200, 1);
  fs::remove(folder_ / "data/JPEGImages/03.png");
  fs::remove(folder_ / "data/Annotations/03.xml");
  put(folder_ / "data/Annotations/05.xml",
      std::string("<annotation><size><width>64</width><height>48</height></size><object><name>bar"
                  "</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
                  "</bndbox></object></annotation>"));
  const Result refused = tapescope_program(resume);
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_SAYS(refused.err, "1 picture added (JPEGImages/200.png)");
  EXPECT_SAYS(refused.err, "1 picture removed (JPEGImages/03.png)");
  EXPECT_SAYS(refused.err, "1 picture labelled otherwise (JPEGImages/05.png: 1 box");
  EXPECT_SAYS(refused.err, "--data-changed accept");
  Words accepted = resume;
  accepted.insert(accepted.end(), {"--data-changed", "accept"});
  const Result gone_on = tapescope_program(accepted);
  EXPECT_EQ(gone_on.status, 0) << gone_on.err;
  EXPECT_SAYS(gone_on.err, "the data changed since the training began");
  EXPECT_SAYS(text_of(at("run/split.tsv")), "200.png");
  EXPECT_SAYS(text_of(at("run/split.tsv")), "03.png");
}

// coco8 and its like name the training pictures as validation: obeyed, recorded, and said.
TEST_F(DetectorSplit, PicturesThatSeveralSplitsNameStayInEach) {
  yolo("data");
  put(folder_ / "data/data.yaml",
      std::string("train: images/train\nval: images/train\nnames: [square, bar]\n"));
  const Result trained = tapescope_program(train("data", "run"));
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_SAYS(trained.err, "24 pictures of validation, in train as well");
  EXPECT_EQ(images("run", "data", "validation"), kPictures);
  EXPECT_EQ(images("run", "data", "train"), kPictures);
  EXPECT_EQ(tapescope_program({"train", "--resume", "--out", at("run")}).status, 0);
}

}  // namespace
}  // namespace tapescope
