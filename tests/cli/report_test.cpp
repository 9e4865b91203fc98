// `tapescope inspect` and `tapescope report` as a user runs them; the page in a browser.
#include <nlohmann/json.hpp>

#include "tests/cli/browser.h"
#include "tests/cli/program.h"

namespace tapescope {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// One training for all tests.
class ReportProgram : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    write_colours(data());
    fs::create_directories(*folder_ / "watch/red");
    fs::copy(data() + "/test/red/22.png", *folder_ / "watch/red/22.png");
    trained_ = tapescope_program({"train", "--data", data(), "--model", "resnet20", "--width",
                                  "0.25", "--epochs", "3", "--batch-size", "4", "--image-size",
                                  "24", "--statistics-every", "2", "--watch-images",
                                  *folder_ / "watch", "--out", run()});
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override { ASSERT_EQ(trained_.status, 0) << trained_.err; }
  static std::string data() { return *folder_ / "data"; }
  static std::string run() { return *folder_ / "run"; }
  static json ask(const std::vector<std::string>& words) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out);
  }
  static inline TemporaryFolder* folder_ = nullptr;
  static inline Result trained_;
};

TEST_F(ReportProgram, InspectsStructure) {
  const json structure = ask({"inspect", "structure", "--run", run(), "--time", "--json", "--graph",
                              *folder_ / "graph.svg"});
  EXPECT_GT(structure["totals"]["saved_bytes"], 0);
  EXPECT_GT(structure["totals"]["backward_seconds"], 0);
  EXPECT_TRUE(fs::exists(*folder_ / "graph.svg"));
  const Result text = tapescope_program({"inspect", "structure", "--run", run()});
  EXPECT_NE(text.out.find("layer1"), std::string::npos);
  const Result same = tapescope_program({"inspect", "structure", "--run", run(), "--diff", run()});
  EXPECT_NE(same.out.find("same architecture"), std::string::npos);
  EXPECT_EQ(tapescope_program({"inspect", "structure"}).status, 2);
  EXPECT_EQ(tapescope_program({"inspect", "structure", "--run", run(), "--graph", "x.png"}).status,
            2);
  EXPECT_EQ(tapescope_program({"inspect", "everything", "--run", run()}).status, 2);
}

TEST_F(ReportProgram, InspectsParameters) {
  const json rows = ask({"inspect", "parameters", "--run", run(), "--channels", "--json", "--out",
                         *folder_ / "filters"})["parameters"];
  EXPECT_EQ(rows[0]["name"], "conv1.weight");
  EXPECT_GT(rows[0]["distance_from_initial"], 0);
  EXPECT_EQ(rows[0]["channels"].size(), 4u);
  EXPECT_TRUE(fs::exists(*folder_ / "filters/filters.png"));
}

TEST_F(ReportProgram, InspectsActivations) {
  const json rows = ask({"inspect", "activations", "--run", run(), "--data", data(), "--json",
                         "--units", "--out", *folder_ / "acts"})["activations"];
  EXPECT_EQ(rows.size(), 19u);
  EXPECT_EQ(rows[0]["unit_rows"][0]["top"].size(), 5u);
  EXPECT_TRUE(fs::exists(*folder_ / "acts/curve-relu.svg"));
  EXPECT_TRUE(fs::exists(*folder_ / "acts/top-layer3.2.relu#2.png"));
  const json swap = ask({"inspect", "activations", "--run", run(), "--data", data(), "--swap",
                         "relu=gelu", "--json"});
  EXPECT_NE(swap["loss"][0], swap["loss"][1]);
  EXPECT_EQ(tapescope_program(
                {"inspect", "activations", "--run", run(), "--data", data(), "--swap", "tanh=gelu"})
                .status,
            2);
}

TEST_F(ReportProgram, InspectsTraining) {
  const json training = ask({"inspect", "training", "--run", run(), "--data", data(), "--json"});
  EXPECT_EQ(training["epochs"].size(), 3u);
  EXPECT_FALSE(training["statistics"].empty());
  EXPECT_FALSE(training["pulses"].empty());
  EXPECT_TRUE(training.contains("label_suspects"));
  EXPECT_FALSE(fs::is_empty(run() + "/tensorboard"));
  EXPECT_TRUE(fs::exists(run() + "/watch/red-22.grad-cam.epoch-003.png"));
  EXPECT_EQ(tapescope_program({"inspect", "training", "--run", data()}).status, 2);
}

TEST_F(ReportProgram, ADataSetOfOtherClassesIsRefused) {
  const std::string other = *folder_ / "other";
  fs::create_directories(other + "/test/green");
  write_png(other + "/test/green/1.png", coloured(2, 24, 1));
  const Result result =
      tapescope_program({"report", "--run", run(), "--data", other, "--out", *folder_ / "no.html"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("green"), std::string::npos) << result.err;
}

TEST_F(ReportProgram, PartsThatAreMissingAreNoted) {
  const std::string bare = *folder_ / "bare";
  fs::create_directories(bare + "/checkpoints");
  fs::copy(run() + "/checkpoints/best.safetensors", bare + "/checkpoints/best.safetensors");
  const std::string page = *folder_ / "bare.html";
  const Result result = tapescope_program({"report", "--run", bare, "--out", page});
  ASSERT_EQ(result.status, 0) << result.err;
  const std::string text = text_of(page);
  EXPECT_NE(text.find("no history.jsonl"), std::string::npos);
  EXPECT_NE(text.find("no metrics.json"), std::string::npos);
  std::ofstream(bare + "/metrics.json") << std::string(1000000, '[');
  ASSERT_EQ(tapescope_program({"report", "--run", bare, "--out", page}).status, 0);
  EXPECT_NE(text_of(page).find("metrics.json' is damaged"), std::string::npos);
  EXPECT_NE(text.find("without --data"), std::string::npos);
}

// Whether choosing another method changes the picture.
constexpr const char* kTry = R"(
const picture = pane => document.querySelector(`[data-pane=${pane}] canvas`).toDataURL();
const choose = (pane, label, value) => {
  const select = document.querySelector(`[data-pane=${pane}] select[aria-label^=${label}]`);
  select.value = value;
  select.dispatchEvent(new Event('change'));
};
const method = (pane, i) => document.querySelector(`[data-pane=${pane}] select[aria-label^=Method]`).options[i].value;
choose('left', 'Method', method('left', 0));
const before = picture('left'), other = picture('right');
choose('left', 'Method', method('left', 1));
found.methodChangesPicture = picture('left') !== before;
found.sideBySide = picture('right') === other;
const classes = document.querySelector('[data-pane=left] select[aria-label^=Class]');
const first = picture('left');
choose('left', 'Class', classes.options[1].value);
found.classChangesPicture = picture('left') !== first;
[...document.querySelectorAll('#confusion td button')].find(b => b.textContent !== '0').click();
found.cellShowsImages = document.querySelectorAll('#confusion .thumbs img').length;
const fold = document.querySelector('#structure button.fold');
fold.click();
found.verdict = document.querySelector('.verdict').textContent;
found.open = document.querySelectorAll('section > details[open]').length;
found.folds = document.querySelectorAll('#structure tr[hidden]').length;
)";

TEST_F(ReportProgram, ThePageWorksInABrowser) {
  if (!has_browser()) GTEST_SKIP() << "chromium is not installed: the report is not opened";
  const std::string page = *folder_ / "report.html";
  const Result written = tapescope_program({"report", "--run", run(), "--data", data(), "--out",
                                            page, "--images", "4", "--quality", "1"});
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_LT(fs::file_size(page), 15u << 20);
  const json found = in_browser(page, kTry);
  EXPECT_EQ(found["troubles"], json::array());
  EXPECT_EQ(found["requests"], json::array());
  EXPECT_EQ(found["withoutAlt"], 0);
  EXPECT_LE(found["overflow"], 0);
  EXPECT_TRUE(found["methodChangesPicture"]);
  EXPECT_TRUE(found["classChangesPicture"]);
  EXPECT_TRUE(found["sideBySide"]);
  EXPECT_GT(found["cellShowsImages"], 0);
  EXPECT_GT(found["folds"], 0);
  EXPECT_GE(found["charts"], 6);
  json sections = found["sections"];
  std::erase(sections.get_ref<json::array_t&>(), json("suspects"));  // where a label looks wrong
  EXPECT_EQ(sections,
            (json{"summary", "diagnosis", "predictions", "confusion", "quality", "training",
                  "evolution", "activations", "structure", "parameters", "notes"}));
  EXPECT_NE(found["verdict"].get<std::string>().find("of 8 images of test"), std::string::npos)
      << found["verdict"];
  EXPECT_EQ(found["open"], 0) << "what it is made of is folded away";
  EXPECT_EQ(found["clippedAt1280"], json::array());
  EXPECT_EQ(found["clippedAt390"], json::array());
}

}  // namespace
}  // namespace tapescope
