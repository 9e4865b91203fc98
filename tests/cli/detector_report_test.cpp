// What a detector's training tells, `inspect` and `report` on its run; the page in a browser.
#include <nlohmann/json.hpp>

#include "tests/cli/browser.h"
#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"

namespace tapescope {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class DetectorReport : public ::testing::Test {
 protected:
  // One bright square or one dark bar a picture, in COCO's form. The first test
  // picture has a square annotated where there is none, so that something is missed for sure.
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    for (const char* split : {"train", "val", "test"}) {
      json images = json::array(), annotations = json::array();
      const int count = std::string(split) == "train" ? 40 : 8;
      for (int i = 0; i < count; ++i) {
        const auto& [picture, bar, x, y, w, h] = SquareOrBar(split, i, 20);
        const std::string name = fmt::format("{}-{:02}.png", split, i);
        fs::create_directories(*folder_ / "data/images");
        write_png(*folder_ / "data/images" / name, picture);
        images.push_back({{"id", i + 1}, {"file_name", name}, {"width", 64}, {"height", 48}});
        const auto annotate = [&](int category, int bx, int by, int bw, int bh) {
          annotations.push_back({{"id", annotations.size() + 1},
                                 {"image_id", i + 1},
                                 {"category_id", category},
                                 {"bbox", {bx, by, bw, bh}},
                                 {"area", bw * bh},
                                 {"iscrowd", 0}});
        };
        annotate(bar ? 2 : 1, x, y, w, h);
        if (std::string(split) == "test" && i == 0) annotate(1, 2, 2, 12, 12);
      }
      const std::string text =
          json{{"images", images},
               {"annotations", annotations},
               {"categories", {{{"id", 1}, {"name", "square"}}, {{"id", 2}, {"name", "bar"}}}}}
              .dump();
      put(*folder_ / "data/annotations" / (std::string(split) + ".json"),
          {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    }
    trained_ = tapescope_program({"train", "--data", data(), "--model", "centre-detector",
                                  "--width", "0.5", "--epochs", "16", "--batch-size", "8",
                                  "--augment", "none", "--log-every", "5", "--out", run()});
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override { ASSERT_EQ(trained_.status, 0) << trained_.err; }
  static std::string data() { return *folder_ / "data"; }
  static std::string run() { return *folder_ / "run"; }
  static json ask(const std::vector<std::string>& words) {
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }
  static inline TemporaryFolder* folder_ = nullptr;
  static inline Result trained_;
};

TEST_F(DetectorReport, TrainingTellsBothLossesAndThePositives) {
  EXPECT_NE(trained_.err.find("heat map loss"), std::string::npos) << trained_.err;
  std::istringstream lines(text_of(run() + "/history.jsonl"));
  int told = 0;
  for (std::string text; std::getline(lines, text);) {
    const json line = json::parse(text);
    if (!line.contains("loss") && !line.contains("train_loss")) continue;
    ++told;
    const double loss = line.contains("loss") ? line["loss"] : line["train_loss"];
    EXPECT_NEAR(
        line["terms"]["heat_map_loss"].get<double>() + line["terms"]["box_loss"].get<double>(),
        loss, 1e-5 * (1 + loss));
    EXPECT_EQ(line["terms"]["positives"], 1) << "one object a picture";
  }
  EXPECT_EQ(told, 16 + 16 + 1);  // epochs of 5 steps, and the first step
  bool events = false;
  for (const auto& entry : fs::directory_iterator(run() + "/tensorboard")) {
    events = events || text_of(entry.path()).find("step/box_loss") != std::string::npos;
  }
  EXPECT_TRUE(events);
}

TEST_F(DetectorReport, InspectsStructure) {
  const json structure = ask({"inspect", "structure", "--run", run(), "--time", "--json"});
  EXPECT_EQ(structure["model"], "centre-detector");
  std::set<std::string> paths;
  for (const json& node : structure["nodes"]) paths.insert(node["path"]);
  EXPECT_TRUE(paths.contains("heat/3/conv2d")) << "one head";
  EXPECT_TRUE(paths.contains("ltrb/3/conv2d")) << "and the other";
  EXPECT_GT(structure["totals"]["backward_seconds"], 0);
  std::int64_t trained = 0;
  const json rows = ask({"inspect", "parameters", "--run", run(), "--json"})["parameters"];
  for (const json& row : rows) {
    std::int64_t count = 1;
    for (const json& extent : row["shape"]) count *= extent.get<std::int64_t>();
    const std::string name = row["name"];
    if (name.find("running_") == std::string::npos && !name.ends_with("num_batches_tracked")) {
      trained += count;
    }
  }
  EXPECT_EQ(structure["totals"]["parameters"], trained);
  const Result same = tapescope_program({"inspect", "structure", "--run", run(), "--diff", run()});
  EXPECT_NE(same.out.find("same architecture"), std::string::npos) << same.out << same.err;
  const json fresh = ask({"inspect", "structure", "--model", "centre-detector", "--image-size",
                          "64", "--classes", "2", "--width", "0.5", "--json"});
  EXPECT_EQ(fresh["totals"]["parameters"], structure["totals"]["parameters"]);
  EXPECT_EQ(
      tapescope_program({"inspect", "structure", "--model", "centre-detector", "--channels", "1"})
          .status,
      2);
}

TEST_F(DetectorReport, InspectsParametersAndActivations) {
  const json rows = ask({"inspect", "parameters", "--run", run(), "--json"})["parameters"];
  EXPECT_EQ(rows[0]["name"], "level4.0.weight");
  EXPECT_GT(rows[0]["distance_from_initial"], 0);
  const json functions = ask({"inspect", "activations", "--run", run(), "--data", data(), "--json",
                              "--units", "--out", *folder_ / "acts"})["activations"];
  std::set<std::string> paths;
  for (const json& row : functions) paths.insert(row["path"]);
  EXPECT_TRUE(paths.contains("heat/2/relu") && paths.contains("ltrb/2/relu"));
  EXPECT_FALSE(functions[0]["unit_rows"][0]["top"].empty());
  EXPECT_TRUE(fs::exists(*folder_ / "acts/curve-smooth4.2.relu.svg"));
  const json swap = ask({"inspect", "activations", "--run", run(), "--data", data(), "--swap",
                         "relu=gelu", "--json"});
  EXPECT_NE(swap["loss"][0], swap["loss"][1]);
  EXPECT_TRUE(swap.contains("ap"));
  // A folder of labelled pictures is none of annotated ones.
  write_colours(*folder_ / "colours");
  const Result wrong =
      tapescope_program({"inspect", "activations", "--run", run(), "--data", *folder_ / "colours"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.err.find("annotated"), std::string::npos) << wrong.err;
}

TEST_F(DetectorReport, InspectsTraining) {
  const json training = ask({"inspect", "training", "--run", run(), "--data", data(), "--json"});
  EXPECT_EQ(training["score"], "AP");
  EXPECT_EQ(training["epochs"].size(), 16u);
  EXPECT_GT(training["epochs"][0]["terms"]["box_loss"],
            training["epochs"][15]["terms"]["box_loss"]);
  EXPECT_TRUE(training["steps"][0]["terms"].contains("heat_map_loss"));
  EXPECT_FALSE(training["pulses"].empty());
  EXPECT_TRUE(training.contains("annotation_suspects"));
  for (const json& finding : training["diagnosis"]) {
    EXPECT_EQ(finding["evidence"].get<std::string>().find("accuracy"), std::string::npos)
        << finding;
  }
  const Result text = tapescope_program({"inspect", "training", "--run", run()});
  for (const char* column : {"heat map loss", "box loss", "positives", "val. AP"}) {
    EXPECT_NE(text.out.find(column), std::string::npos) << column;
  }
}

constexpr const char* kTry = R"(
const X = D.detection;
found.recall = X.classes.map(c => c.precision50.length);
found.objects = X.objects;
found.errors = X.errors;
found.costs = Object.keys(X.error_costs).sort();
found.curves = document.querySelectorAll('#detection canvas').length;
found.tiles = document.querySelectorAll('#boxes .tile').length;
const canvas = document.querySelector('.viewer canvas'), why = document.querySelector('.why');
const looks = () => canvas.toDataURL() + why.textContent;
const tile = [...document.querySelectorAll('#boxes .tile')][X.pictures.findIndex(p => p.boxes.some(b => b.outcome === 'missed'))];
tile.click();
const rows = () => [...document.querySelectorAll('.viewer .list tbody tr')];
const row = word => rows().find(r => r.textContent.includes(word));
row('right').querySelector('button').click();
const right = looks();
found.rightIsMarked = row('right').classList.contains('picked');
row('missed').querySelector('button').click();
found.rowChangesPicture = looks() !== right;
found.missed = why.textContent;
document.querySelector('.viewer svg.boxes g.right').dispatchEvent(new MouseEvent('click', {bubbles: true}));
found.boxChangesPicture = looks() === right;
const select = document.querySelector('.viewer select');
found.methods = [...select.options].map(o => o.value);
select.value = found.methods[1];
select.dispatchEvent(new Event('change'));
found.methodChangesPicture = looks() !== right;
const middle = canvas.getBoundingClientRect();
document.querySelector('.viewer .stage').dispatchEvent(new PointerEvent('pointermove',
  {clientX: middle.left + middle.width / 2, clientY: middle.top + middle.height / 2}));
found.reading = document.querySelector('.viewer .reading').textContent;
)";

TEST_F(DetectorReport, ThePageWorksInABrowser) {
  if (!has_browser()) GTEST_SKIP() << "chromium is not installed: the report is not opened";
  const std::string page = *folder_ / "report.html";
  const Result written =
      tapescope_program({"report", "--run", run(), "--data", data(), "--out", page, "--images", "4",
                         "--quality", "1", "--method", "odam,saliency"});
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_LT(fs::file_size(page), 15u << 20);
  const json found = in_browser(page, kTry);
  EXPECT_EQ(found["troubles"], json::array());
  EXPECT_EQ(found["requests"], json::array());
  EXPECT_EQ(found["withoutAlt"], 0);
  EXPECT_LE(found["overflow"], 0);
  EXPECT_EQ(found["recall"], (json{101, 101}));
  EXPECT_EQ(found["objects"], 9);
  // Every object is found, missed, or has a box that is wrong about it.
  const json& errors = found["errors"];
  EXPECT_GE(errors["missed"], 1);
  EXPECT_GE(errors["right"], 6);
  EXPECT_EQ(found["costs"],
            (json{"background", "both", "classification", "duplicate", "localisation", "missed"}));
  EXPECT_EQ(found["curves"], 3);
  EXPECT_EQ(found["tiles"], 4);
  EXPECT_TRUE(found["rightIsMarked"]);
  EXPECT_TRUE(found["rowChangesPicture"]);
  EXPECT_TRUE(found["boxChangesPicture"]);
  EXPECT_TRUE(found["methodChangesPicture"]);
  EXPECT_EQ(found["methods"], (json{"odam", "saliency"}));
  EXPECT_NE(found["missed"].get<std::string>().find("was missed; cell"), std::string::npos);
  EXPECT_EQ(found["reading"].get<std::string>().find("at "), 0u);
  EXPECT_EQ(found["sections"],
            (json{"summary", "diagnosis", "boxes", "detection", "quality", "training",
                  "activations", "structure", "parameters", "notes"}));
  EXPECT_EQ(found["clippedAt1280"], json::array());
  EXPECT_EQ(found["clippedAt390"], json::array());
}

TEST_F(DetectorReport, WithoutDataItSaysWhatIsNotThere) {
  const std::string page = *folder_ / "bare.html";
  const Result result = tapescope_program({"report", "--run", run(), "--out", page});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(text_of(page).find("without --data"), std::string::npos);
  EXPECT_EQ(
      tapescope_program({"report", "--run", run(), "--data", *folder_ / "nothing", "--out", page})
          .status,
      2);
}

}  // namespace
}  // namespace tapescope
