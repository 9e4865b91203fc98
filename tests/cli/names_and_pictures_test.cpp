// Names of any bytes, bad pictures among good ones, folders, outputs that are inputs, mistyped
// words: by the program, on a classifier's run.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/tools/temporary_folder.h"

namespace tapescope {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// A lenet of two colours.
class Answers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    write_colours(*folder_ / "data");
    trained_ = tapescope_program({"train", "--data", data(), "--model", "lenet", "--image-size",
                                  "28", "--epochs", "1", "--batch-size", "8", "--out", run()});
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override { ASSERT_EQ(trained_.status, 0) << trained_.err; }
  static std::string data() { return *folder_ / "data"; }
  static std::string run() { return *folder_ / "run"; }
  // A folder of its own with two good pictures and a bad one between.
  static std::string mixed(const std::string& name) {
    const fs::path folder = *folder_ / name;
    fs::create_directories(folder / "deep");
    write_png(folder / "a.png", coloured(0, 24, 1));
    put(folder / "b.png", std::string("no picture"));
    write_png(folder / "deep/c.png", coloured(1, 24, 2));
    put(folder / "._a.png", std::string("a Mac's resource fork"));
    put(folder / "notes.txt", std::string("notes"));
    return folder;
  }
  static Result explain(const Words& images, const std::string& out, const Words& more = {}) {
    Words words{"explain", "--run", run(), "--out", out};
    words.insert(words.end(), images.begin(), images.end());
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  static inline std::unique_ptr<TemporaryFolder> folder_;
  static inline Result trained_;
};

TEST_F(Answers, OneBadPictureAmongManyCostsNoOther) {
  const std::string folder = mixed("predicted");
  const Result result = tapescope_program({"predict", "--run", run(), folder, "--json"});
  EXPECT_EQ(result.status, 2);
  const json images = json::parse(result.out)["images"];
  ASSERT_EQ(images.size(), 3u) << "hidden files and notes are passed over";
  EXPECT_EQ(images[0]["top"].size(), 2u);
  EXPECT_NE(images[1]["error"].get<std::string>().find("b.png"), std::string::npos);
  EXPECT_FALSE(images[1].contains("top"));
  EXPECT_EQ(images[2]["path"], folder + "/deep/c.png");
  EXPECT_NE(result.err.find("1 of 3 could not be read"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("notes.txt"), std::string::npos) << result.err;
  // Files, folders, both; the same answers as alone.
  const Result alone = tapescope_program(
      {"predict", "--run", run(), folder + "/deep/c.png", folder + "/deep", "--json"});
  EXPECT_EQ(alone.status, 0) << alone.err;
  const json twice = json::parse(alone.out)["images"];
  ASSERT_EQ(twice.size(), 2u);
  EXPECT_EQ(twice[0], images[2]);
  EXPECT_EQ(twice[1], images[2]);
  EXPECT_EQ(
      tapescope_program({"predict", "--run", run(), *folder_ / "predicted/deep/no.png"}).status, 2);
}

TEST_F(Answers, ManyBadPicturesAreCounted) {
  for (int i = 0; i < 30; ++i) {
    put(*folder_ / ("bad/" + std::to_string(100 + i) + ".png"), std::string("x"));
  }
  const Result result = tapescope_program({"predict", "--run", run(), *folder_ / "bad"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("30 of 30 could not be read"), std::string::npos) << result.err;
  EXPECT_LT(std::count(result.err.begin(), result.err.end(), '\n'), 15);
}

TEST_F(Answers, ExplainGoesOnPastABadPicture) {
  const std::string folder = mixed("explained"), out = *folder_ / "explained-out";
  const Result result = explain({folder}, out, {"--method", "saliency", "--json"});
  EXPECT_EQ(result.status, 2) << result.err;
  const json maps = json::parse(result.out)["maps"];
  ASSERT_EQ(maps.size(), 3u);
  EXPECT_TRUE(maps[1].contains("error"));
  EXPECT_TRUE(fs::exists(out + "/a.saliency.npy"));
  EXPECT_TRUE(fs::exists(out + "/c.saliency.npy"));
  EXPECT_TRUE(fs::exists(out + "/sheet.png"));
  EXPECT_EQ(json::parse(text_of(out + "/scores.json"))["maps"].size(), 3u);
  const Result changed = explain({folder}, *folder_ / "changed", {"--fgsm", "--json"});
  EXPECT_EQ(changed.status, 2) << changed.err;
  EXPECT_EQ(json::parse(changed.out)["answers"].size(), 2u);
}

TEST_F(Answers, NamesThatAreNotUtf8AreReadAndEscaped) {
  const fs::path folder = *folder_ / "latin";
  fs::create_directories(folder);
  const std::string name = "caf\xe9\n\x1b[31m";
  write_png(folder / (name + ".png"), coloured(0, 24, 1));
  const std::string shown = R"(caf\xe9\x0a\x1b[31m)";
  const Result answer = tapescope_program({"predict", "--run", run(), folder, "--json"});
  ASSERT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(json::parse(answer.out)["images"][0]["path"].get<std::string>().find(R"(caf\xe9)"),
            std::string::npos);
  const Result text = tapescope_program({"predict", "--run", run(), folder});
  EXPECT_NE(text.out.find(shown), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos);
  const fs::path out = *folder_ / "latin-out";
  const Result maps = explain({folder}, out, {"--method", "saliency"});
  ASSERT_EQ(maps.status, 0) << maps.err;
  EXPECT_EQ((maps.out + maps.err).find('\x1b'), std::string::npos);
  EXPECT_TRUE(fs::exists(out / (name + ".saliency.npy"))) << "files keep their bytes";
  EXPECT_NE(text_of(out / "maps.safetensors").find(R"(caf\\xe9)"), std::string::npos);
  EXPECT_TRUE(json::accept(text_of(out / "scores.json")));
  const Result missing = tapescope_program({"predict", "--run", run(), folder / "no\x1b\xff.png"});
  EXPECT_NE(missing.err.find(R"(no\x1b\xff.png)"), std::string::npos) << missing.err;
}

TEST_F(Answers, OutputsAreNeverInputs) {
  const fs::path folder = *folder_ / "own";
  fs::create_directories(folder);
  write_png(folder / "sheet.png", coloured(0, 24, 1));
  write_png(folder / "a.png", coloured(0, 24, 2));
  write_png(folder / "a.saliency.png", coloured(1, 24, 3));
  fs::create_directory_symlink(folder, *folder_ / "own-link");
  const auto before = [&] {
    return text_of(folder / "sheet.png") + text_of(folder / "a.png") +
           text_of(folder / "a.saliency.png");
  };
  const std::string bytes = before();
  for (const fs::path& out : {folder, fs::path(*folder_ / "own-link")}) {
    for (const Words& more : {Words{"--method", "saliency"}, Words{"--fgsm"}}) {
      const Result result = explain({folder}, out, more);
      EXPECT_EQ(result.status, 2);
      EXPECT_NE(result.err.find("--out would write over"), std::string::npos) << result.err;
    }
  }
  EXPECT_EQ(before(), bytes);
  EXPECT_FALSE(fs::exists(folder / "scores.json")) << "refused before anything is written";
  // Beside pictures that keep their names it may write, and write again.
  const fs::path harmless = *folder_ / "harmless";
  fs::create_directories(harmless);
  write_png(harmless / "a.png", coloured(0, 24, 2));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(explain({harmless / "a.png"}, harmless, {"--method", "saliency"}).status, 0);
  }
  const fs::path checkpoint = fs::path(run()) / "checkpoints/best.safetensors";
  const std::vector<std::uint8_t> weights = get(checkpoint);
  const Result report = tapescope_program({"report", "--run", run(), "--out", checkpoint});
  EXPECT_EQ(report.status, 2) << report.err;
  const Result of_data = tapescope_program(
      {"report", "--run", run(), "--data", data(), "--out", data() + "/test/red/22.png"});
  EXPECT_EQ(of_data.status, 2) << of_data.err;
  EXPECT_TRUE(get(checkpoint) == weights);
}

TEST_F(Answers, WithoutAMethodThreeAreMade) {
  const Result result = explain({data() + "/test/red/22.png"}, *folder_ / "usual", {"--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::vector<std::string> methods;
  const json scores = json::parse(result.out);
  for (const json& map : scores["maps"]) methods.push_back(map["method"]);
  EXPECT_EQ(methods, (Words{"grad-cam", "lrp-epsilon-plus", "integrated-gradients"}));
  EXPECT_NE(result.err.find("--method all"), std::string::npos) << result.err;
}

TEST_F(Answers, WrongAnswersAreListed) {
  // Two pictures in the wrong folder are wrong answers of a net that tells red from blue.
  const fs::path folder = *folder_ / "swapped";
  fs::create_directories(folder);
  fs::copy(data(), folder, fs::copy_options::recursive);
  write_png(folder / "test/red/90.png", coloured(1, 24, 907));
  write_png(folder / "test/blue/91.png", coloured(0, 24, 908));
  const Result result =
      tapescope_program({"eval", "--run", run(), "--data", folder, "--wrong", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json figures = json::parse(result.out);
  std::int64_t off_diagonal = 0;
  for (std::size_t r = 0; r < 2; ++r) off_diagonal += figures["confusion"][r][1 - r].get<int>();
  ASSERT_EQ(figures["wrong"].size(), static_cast<std::size_t>(off_diagonal));
  EXPECT_GE(off_diagonal, 2);
  double last = 1;
  for (const json& wrong : figures["wrong"]) {
    EXPECT_NE(wrong["label"], wrong["predicted"]);
    EXPECT_NEAR(wrong["margin"].get<double>(),
                wrong["probability"].get<double>() - wrong["label_probability"].get<double>(),
                1e-12);
    EXPECT_LE(wrong["margin"].get<double>(), last);
    last = wrong["margin"];
    EXPECT_TRUE(fs::exists(wrong["path"].get<std::string>()));
    // `predict` says the same of the file.
    const Result again =
        tapescope_program({"predict", "--run", run(), wrong["path"].get<std::string>(), "--json"});
    const json top = json::parse(again.out)["images"][0]["top"][0];
    EXPECT_EQ(top["class"], wrong["predicted"]);
    EXPECT_NEAR(top["probability"].get<double>(), wrong["probability"].get<double>(), 1e-5);
  }
  const Result text = tapescope_program({"eval", "--run", run(), "--data", folder, "--wrong"});
  EXPECT_NE(text.out.find("90.png"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find(fmt::format("{} wrong answers", off_diagonal)), std::string::npos);
  EXPECT_EQ(
      tapescope_program({"eval", "--run", run(), "--data", folder, "--json"}).out.find("wrong"),
      std::string::npos);
}

TEST_F(Answers, MistypedWordsAreRecognised) {
  const auto error = [](const Words& words) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 2) << words[0];
    return result.err;
  };
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect(error({"train", "--data", data(), "--batch", "8"}), "did you mean --batch-size?");
  expect(error({"train", "--data", data(), "--size=32"}), "did you mean --image-size?");
  expect(error({"train", "--pretrained", "x"}), "did you mean --weights?");
  expect(error({"train", data()}), "--out is required");
  expect(error({"inspect", "structure", "--modle", "lenet"}), "did you mean --model?");
  expect(error({"predcit"}), "did you mean predict?");
  expect(error({"train", "--data", data(), "--model", "resnet-18", "--plan"}),
         "did you mean resnet18?");
  expect(error({"inspect", "structure", "--model", "LeNet"}), "did you mean lenet?");
  expect(error({"explain", "--run", run(), "x.png", "--out", *folder_ / "o", "--method",
                "saliency,gradcam"}),
         "did you mean grad-cam?");
  const std::string bare = [] {
    const Result result = tapescope_program({});
    EXPECT_EQ(result.status, 2);
    return result.err;
  }();
  for (const char* name : {"train", "predict", "explain", "report", "detect", "kernels"}) {
    expect(bare, std::string("tapescope ") + name);
  }
}

TEST(NumericClasses, HaveTheSameLabelsOnBothAxes) {
  const fs::path cases = shared_case("files/12_numeric_classes/num");
  if (cases.empty()) GTEST_SKIP() << "the cases are not there";
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  const Result trained =
      tapescope_program({"train", "--data", cases, "--model", "lenet", "--image-size", "28",
                         "--epochs", "1", "--batch-size", "8", "--out", run});
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Result result = tapescope_program({"eval", "--run", run, "--data", cases});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream lines(result.out);
  std::string line;
  while (std::getline(lines, line) && !line.starts_with("confusion")) {
  }
  std::getline(lines, line);
  std::istringstream head(line);
  Words columns, rows;
  for (std::string word; head >> word;) columns.push_back(word);
  while (std::getline(lines, line)) {
    std::istringstream row(line);
    std::string name;
    if (row >> name) rows.push_back(name);
  }
  EXPECT_EQ(columns.size(), 12u) << result.out;
  EXPECT_EQ(columns, rows) << result.out;
  EXPECT_TRUE(std::is_sorted(columns.begin(), columns.end())) << "as ids go: 0, 1, 10, 11, 2";
}

// Class folders, pictures and annotations as an archive from an old Windows brings them.
TEST(Latin1Names, AreReadByEveryCommand) {
  const fs::path archive = shared_case("files/07_latin1_names/latin1.tar");
  if (archive.empty()) GTEST_SKIP() << "the cases are not there";
  const TemporaryFolder folder;
  ASSERT_EQ(std::system(("tar xf " + archive.string() + " -C " + folder.path().string()).c_str()),
            0);
  const auto works = [](const Words& words) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 0) << words[0] << ": " << result.err;
    EXPECT_EQ(result.err.find("json.exception"), std::string::npos) << result.err;
    return result;
  };
  for (const char* which : {"latin1", "latin1file"}) {  // of a class, of a picture
    const fs::path data = folder / which;
    const std::string run = folder / (std::string(which) + "-run");
    works({"train", "--data", data, "--model", "lenet", "--image-size", "28", "--epochs", "1",
           "--batch-size", "4", "--out", run});
    if (::testing::Test::HasFailure()) return;
    const Result answers = works({"predict", "--run", run, data / "test", "--json"});
    EXPECT_TRUE(json::accept(answers.out));
    EXPECT_NE(answers.out.find(R"(caf\\xe9)"), std::string::npos) << answers.out.substr(0, 500);
    const Result figures = works({"eval", "--run", run, "--data", data, "--wrong", "--json"});
    EXPECT_TRUE(json::accept(figures.out));
    works({"eval", "--run", run, "--data", data, "--wrong"});
    works({"explain", "--run", run, data / "test", "--method", "saliency", "--out",
           folder / (std::string(which) + "-maps")});
    works({"report", "--run", run, "--data", data, "--images", "2", "--quality", "0", "--out",
           folder / (std::string(which) + ".html")});
    works({"inspect", "training", "--run", run, "--json"});
    works({"inspect", "activations", "--run", run, "--data", data, "--out",
           folder / (std::string(which) + "-activations")});
  }
}

}  // namespace
}  // namespace tapescope
