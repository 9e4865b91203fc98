// Explaining pictures, scoring explanations, and pictures whose cause is known.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class Explanations : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    const Result shapes = tapescope_program({"synthesize", "--out", shapes_folder(), "--size", "24",
                                             "--train", "4", "--test", "2", "--rule", "colour"});
    ASSERT_EQ(shapes.status, 0) << shapes.err;
    const Result trained = tapescope_program(
        {"train", "--data", images(), "--model", "lenet", "--width", "0.25", "--epochs", "1",
         "--batch-size", "4", "--image-size", "24", "--seed", "1", "--out", run()});
    ASSERT_EQ(trained.status, 0) << trained.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string shapes_folder() { return *folder_ / "shapes"; }
  static std::string images() { return *folder_ / "shapes" / "images"; }
  static std::string masks() { return *folder_ / "shapes" / "masks"; }
  static std::string run() { return *folder_ / "run"; }
  static std::string picture() { return images() + "/test/red/0001.png"; }
  static Result explain(const std::string& out, const Words& more) {
    Words words{"explain", "--run", run(), picture(), "--out", *folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  static void expect_refused(const Result& result, const std::string& part) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }
  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> Explanations::folder_;

TEST_F(Explanations, SynthesizedFoldersMirrorEachOther) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(images())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const fs::path relative = fs::relative(entry.path(), images());
    EXPECT_TRUE(fs::exists(masks() / relative)) << relative;
    EXPECT_TRUE(fs::exists(shapes_folder() / ("twins" / relative))) << relative;
  }
  EXPECT_EQ(files, 3 * (4 + 2));
  const json boxes = json::parse(text_of(fs::path(shapes_folder()) / "annotations-test.json"));
  EXPECT_EQ(boxes["images"].size(), 6u);
  int causes = 0;
  for (const json& box : boxes["annotations"]) causes += box["cause"].get<bool>() ? 1 : 0;
  EXPECT_EQ(causes, 6);
  expect_refused(tapescope_program({"synthesize", "--out", shapes_folder()}), "not empty");
}

// eval --localise, against what `detect` says and the overlaps by hand.
TEST_F(Explanations, BoxesOfClassMapsAreMeasured) {
  const Words data{"--data", shapes_folder(), "--localise"};
  Words dense{"eval", "--run", run()};
  dense.insert(dense.end(), data.begin(), data.end());
  expect_refused(tapescope_program(dense), "not linear");

  const std::string mapped = *folder_ / "mapped";
  const Result trained = tapescope_program({"train", "--data", images(), "--model", "resnet20",
                                            "--width", "0.25", "--epochs", "2", "--batch-size", "4",
                                            "--image-size", "24", "--out", mapped});
  ASSERT_EQ(trained.status, 0) << trained.err;
  Words words{"eval", "--run", mapped, "--share", "0.4", "--json"};
  words.insert(words.end(), data.begin(), data.end());
  const Result measured = tapescope_program(words);
  ASSERT_EQ(measured.status, 0) << measured.err;
  EXPECT_NE(measured.err.find("rule.json"), std::string::npos) << "is no COCO file";
  const json shares = json::parse(measured.out);
  words.insert(words.end(), {"--target", "mauve"});
  expect_refused(tapescope_program(words), "no class of this model; they are blue, green, red");

  const json boxes = json::parse(text_of(fs::path(shapes_folder()) / "annotations-test.json"));
  int overlapping = 0;
  double overlaps = 0;
  for (const json& image : boxes["images"]) {
    const std::string path = images() + "/" + image["file_name"].get<std::string>();
    const Result seen = tapescope_program(
        {"detect", "--run", mapped, path, "--share", "0.4", "--threshold", "0", "--json"});
    ASSERT_EQ(seen.status, 0) << seen.err;
    const json found = json::parse(seen.out)["boxes"];
    if (found.empty()) continue;
    double best = 0;
    for (const json& object : boxes["annotations"]) {
      if (object["image_id"] != image["id"]) continue;
      const auto a = found[0]["box"].get<std::array<double, 4>>();
      const auto b = object["bbox"].get<std::array<double, 4>>();
      const auto shared = [&](std::size_t axis) {
        const double from = std::max(a[axis], b[axis]);
        return std::max(0.0, std::min(a[axis] + a[axis + 2], b[axis] + b[axis + 2]) - from);
      };
      const double both = shared(0) * shared(1);
      const double all = a[2] * a[3] + b[2] * b[3] - both;
      best = std::max(best, both / all);
    }
    overlapping += best > 0.5;
    overlaps += best;
  }
  EXPECT_EQ(shares["images"], 6);
  EXPECT_TRUE(shares["accuracy"].is_null()) << "boxes are of shapes, classes are colours";
  EXPECT_NEAR(shares["iou50"].get<double>(), overlapping / 6.0, 1e-9);
  EXPECT_NEAR(shares["mean_iou"].get<double>(), overlaps / 6, 1e-6);

  // Pictures that cannot be read, by their heads or behind them, cost no others.
  fs::copy(shapes_folder(), *folder_ / "damaged", fs::copy_options::recursive);
  const fs::path damaged = *folder_ / "damaged/images/test";
  fs::resize_file(damaged / "red/0000.png", fs::file_size(damaged / "red/0000.png") / 2);
  put(damaged / "blue/0001.png", std::string("no picture"));
  Words broken{"eval", "--run", mapped, "--localise", "--json", "--data", *folder_ / "damaged"};
  const Result went_on = tapescope_program(broken);
  EXPECT_EQ(went_on.status, 2) << went_on.err;
  EXPECT_NE(went_on.err.find("red/0000.png"), std::string::npos) << went_on.err;
  EXPECT_NE(went_on.err.find("2 pictures cannot be read"), std::string::npos) << went_on.err;
  ASSERT_FALSE(went_on.out.empty());
  EXPECT_EQ(json::parse(went_on.out)["images"], 4);
  broken.insert(broken.end(), {"--on-bad-image", "skip"});
  EXPECT_EQ(tapescope_program(broken).status, 0) << "they were to be left out";
}

TEST_F(Explanations, ScoresStandBesideControls) {
  const Result result =
      explain("scored", {"--method", "saliency,grad-cam,kernel-shap,lime", "--score", "--mask",
                         masks() + "/test/red/0001.png", "--segments", "slic", "--grid", "3",
                         "--budget", "60", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json scores = json::parse(result.out);
  ASSERT_EQ(scores["maps"].size(), 4u);
  ASSERT_EQ(scores["controls"].size(), 3u);
  for (const json& row : scores["maps"]) {
    for (const char* metric : {"deletion", "insertion", "road", "mass", "rank", "pointing"}) {
      ASSERT_TRUE(row["quality"][metric].is_number()) << row["method"] << " " << metric;
    }
    EXPECT_GE(row["quality"]["deletion"], 0);
    EXPECT_LE(row["quality"]["deletion"], 1);
  }
  expect_refused(explain("x", {"--method", "lime", "--segments", images() + "/none.png"}), "none");
  expect_refused(explain("x", {"--mask", masks() + "/test/red/0001.png"}), "--score");
}

TEST_F(Explanations, TargetsOtherThanAClass) {
  const auto value = [&](const Words& more) {
    Words words{"--method", "saliency", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = explain("targets", words);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out)["maps"][0]["value"].get<double>();
  };
  const double red = value({"--target", "red"}), blue = value({"--target", "blue"});
  const double green = value({"--target", "green"});
  EXPECT_NEAR(value({"--target", "red", "--against", "blue"}), red - blue, 1e-5);
  const double all = std::log(std::exp(red) + std::exp(blue) + std::exp(green));
  EXPECT_NEAR(value({"--target", "red", "--log-probability"}), red - all, 1e-5);
  expect_refused(explain("x", {"--unit", "nowhere[0]"}), "nowhere");
  expect_refused(explain("x", {"--unit", "conv1"}), "NODE[INDEX]");
  expect_refused(explain("x", {"--target", "red", "--against", "red"}), "another");
  expect_refused(explain("x", {"--against", "pink"}), "pink");
}

// Every name that `inspect structure` prints is a node, for methods that record the net twice too.
TEST_F(Explanations, UnitsOfEveryNodeOfAReusedName) {
  const std::string deep = *folder_ / "deep";
  const Result trained = tapescope_program({"train", "--data", images(), "--model", "resnet20",
                                            "--width", "0.25", "--epochs", "1", "--batch-size", "4",
                                            "--image-size", "24", "--out", deep});
  ASSERT_EQ(trained.status, 0) << trained.err;
  const json structure =
      json::parse(tapescope_program({"inspect", "structure", "--run", deep, "--json"}).out);
  int tried = 0;
  for (const json& node : structure["nodes"]) {
    const std::string path = node["path"];
    // The first, the last, and those whose names differ by their number only.
    if (path.find('#') == std::string::npos && path.find("fc") != 0 && tried > 0) continue;
    if (++tried > 6 && path.find("fc") != 0) continue;
    const Result one =
        tapescope_program({"explain", "--run", deep, picture(), "--unit", path + "[1]", "--method",
                           "deeplift,saliency", "--out", *folder_ / "units", "--json"});
    ASSERT_EQ(one.status, 0) << path << ": " << one.err;
    const json maps = json::parse(one.out)["maps"];
    // Both look at the same number, and DeepLIFT adds up to its change.
    EXPECT_EQ(maps[0]["value"], maps[1]["value"]) << path;
    const double value = maps[0]["value"].get<double>();
    EXPECT_NEAR(maps[0]["residual"].get<double>(), 0, 1e-3 * (1 + std::fabs(value))) << path;
  }
  EXPECT_GE(tried, 5);
  expect_refused(tapescope_program({"explain", "--run", deep, picture(), "--unit", "fc.weight[0]",
                                    "--method", "saliency", "--out", *folder_ / "units"}),
                 "is a parameter");
  const Result image = tapescope_program({"explain", "--run", deep, picture(), "--unit", "image[3]",
                                          "--method", "deeplift", "--out", *folder_ / "units"});
  EXPECT_EQ(image.status, 0) << image.err;
}

TEST_F(Explanations, ErrorsAreToldOrUnknown) {
  const auto maps = [&](const Words& more) {
    Words words{"--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = explain("errors", words);
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out)["maps"];
  };
  // 144 features: one permutation and its reverse are all that the budget pays for.
  const json one_pair =
      maps({"--method", "shapley", "--grid", "12", "--budget", "300", "--segments", "grid"});
  EXPECT_TRUE(one_pair[0]["error_estimate"].is_null()) << one_pair;
  EXPECT_GT(maps({"--method", "shapley", "--grid", "3"})[0]["error_estimate"], 0);
  const Result text = explain("errors", {"--method", "shapley", "--grid", "12", "--budget", "300"});
  EXPECT_NE(text.out.find("its error unknown"), std::string::npos) << text.out;
  const Result plain = explain("errors", {"--method", "activation,rise"});
  EXPECT_NE(plain.out.find("1 forward pass:"), std::string::npos) << plain.out;
  EXPECT_NE(plain.out.find("at most"), std::string::npos) << plain.out;
}

TEST_F(Explanations, BaselinesAreThoseThatAMethodTook) {
  const Result result =
      explain("baselines", {"--method", "saliency,occlusion,integrated-gradients,deeplift",
                            "--baseline", "black,white", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::vector<std::string> taken;
  const json all = json::parse(result.out);
  for (const json& map : all["maps"]) taken.push_back(map["baseline"]);
  EXPECT_EQ(taken, (Words{"", "black", "black,white", "black"}));
}

TEST_F(Explanations, ClassesByNumber) {
  const auto target = [&](const std::string& name) {
    const Result result = explain("numbered", {"--method", "saliency", "--target", name, "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    return json::parse(result.out)["maps"][0]["target"].get<std::string>();
  };
  EXPECT_EQ(target("#0"), "blue");
  EXPECT_EQ(target("#2"), "red");
  expect_refused(explain("numbered", {"--target", "#3"}), "3 classes, counted from 0");
  expect_refused(explain("numbered", {"--target", "#x"}), "no class of this model");
  expect_refused(explain("numbered", {"--target", "2"}), "no class of this model");
  expect_refused(explain("numbered", {"--target", "#1", "--against", "#1"}), "name another");
}

// Rules by name, against the composite that they spell; the z-box is the domain of pixels.
TEST_F(Explanations, CompositesByName) {
  const auto map = [&](const Words& more) {
    Words words{"--json", "--target", "red"};
    words.insert(words.end(), more.begin(), more.end());
    const Result result = explain("composite", words);
    EXPECT_EQ(result.status, 0) << result.err;
    const json all = json::parse(result.out)["maps"];
    EXPECT_EQ(all.size(), 1u);
    return text_of(all[0]["npy"].get<std::string>());
  };
  const std::string box = map({"--method", "lrp-epsilon-gamma-box"});
  EXPECT_EQ(map({"--composite", "conv1*=z-box,conv*=gamma:0.25,*=epsilon:1e-6"}), box);
  EXPECT_EQ(map({"--method", "lrp-epsilon-gamma-box", "--low", "0", "--high", "1"}), box);
  EXPECT_NE(map({"--method", "lrp-epsilon-gamma-box", "--low", "picture", "--high", "picture"}),
            box);
  EXPECT_NE(map({"--method", "lrp-epsilon-gamma-box", "--gamma", "0.5"}), box);
  EXPECT_EQ(map({"--composite", "conv1*=zbox,conv*=gamma,*=epsilon", "--gamma", "0.5"}),
            map({"--method", "lrp-epsilon-gamma-box", "--gamma", "0.5"}));
  expect_refused(explain("composite", {"--composite", "conw*=z-plus"}), "no node of weights");
  expect_refused(explain("composite", {"--method", "lrp-composite"}), "no rules are given");
  expect_refused(explain("composite", {"--low", "1", "--high", "0"}), "not below");
  expect_refused(explain("composite", {"--low", "dark"}), "neither a number");
  const Result ledger = explain("composite", {"--composite", "*=epsilon", "--ledger"});
  EXPECT_EQ(ledger.status, 0) << ledger.err;
  expect_refused(explain("composite", {"--method", "odam"}), "a detector's boxes");
  const Result list = tapescope_program({"explain", "--list"});
  for (const char* name : {"odam", "d-rise", "lrp-composite", "2304.06354"}) {
    EXPECT_NE(list.out.find(name), std::string::npos) << name;
  }
  expect_refused(explain("composite", {"--method", "no-such"}), "odam, d-rise");
}

TEST_F(Explanations, TheLedgerBalances) {
  const Result result = explain("ledger", {"--method", "lrp-epsilon-plus,saliency", "--ledger"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("passed on"), std::string::npos) << result.out;
  const json maps = json::parse(text_of(fs::path(*folder_ / "ledger") / "scores.json")).at("maps");
  EXPECT_FALSE(maps.at(1).contains("ledger")) << "a gradient has none";
  const json& ledger = maps.at(0).at("ledger");
  const double seed = ledger.at("seed");
  EXPECT_NEAR(seed, maps.at(0).at("value").get<double>(), 1e-6);
  double taken = 0, largest = 0;
  for (const json& node : ledger.at("nodes")) {
    const double arrived = node.at("arrived");
    const double kept = node.at("bias").get<double>() + node.at("stabiliser").get<double>() +
                        node.at("empty").get<double>();
    largest = std::max(largest, std::abs(arrived));
    EXPECT_NEAR(arrived, node.at("passed_on").get<double>() + kept,
                1e-5 * (std::abs(arrived) + std::abs(kept)))
        << node.at("path");
    taken += kept;
  }
  EXPECT_NEAR(seed, ledger.at("reached").get<double>() + taken, 1e-5 * largest);
  EXPECT_EQ(ledger.at("nodes").back().at("path"), "conv1/conv2d");
  EXPECT_EQ(ledger.at("nodes").back().at("rule"), "z-plus");
  expect_refused(explain("none", {"--method", "saliency", "--ledger"}), "lrp");
}

TEST_F(Explanations, PicturesOfOneNameKeepTheirOwnMaps) {
  const std::string other = shapes_folder() + "/twins/test/red/0001.png";
  const Words methods{"--method",   "feature-ablation,integrated-gradients",
                      "--segments", "slic",
                      "--baseline", "blur",
                      "--json"};
  Words together = methods;
  together.insert(together.begin(), other);
  const Result both = explain("both", together);
  ASSERT_EQ(both.status, 0) << both.err;
  Words alone{"explain", "--run", run(), other, "--out", *folder_ / "alone"};
  alone.insert(alone.end(), methods.begin(), methods.end());
  ASSERT_EQ(tapescope_program(alone).status, 0);
  for (const char* method : {"feature-ablation", "integrated-gradients"}) {
    const std::string first = text_of(*folder_ / "both" / fmt::format("0001.{}.npy", method));
    const std::string second = text_of(*folder_ / "both" / fmt::format("0001-2.{}.npy", method));
    EXPECT_NE(first, second) << method;
    EXPECT_EQ(second, text_of(*folder_ / "alone" / fmt::format("0001.{}.npy", method)))
        << method << " of a picture depends on the picture before it";
  }
}

TEST_F(Explanations, OfManyPicturesIsATableOfALineEach) {
  const std::string other = images() + "/test/green/0000.png";
  const Result result = explain("table", {other, "--method", "saliency,grad-cam"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream all(result.out);
  std::vector<std::string> lines;
  for (std::string line; std::getline(all, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 4u) << "a head, two pictures and the sheet: " << result.out;
  EXPECT_TRUE(lines[0].starts_with("picture ")) << lines[0];
  for (const std::size_t row : {0u, 1u, 2u}) EXPECT_LE(lines[row].size(), 80u) << lines[row];
  EXPECT_NE(lines[1].find("test/red/0001.png"), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find("test/green/0000.png"), std::string::npos) << lines[2];
  EXPECT_NE(lines[1].find(" 2 "), std::string::npos) << "maps: " << lines[1];
  const Result one = explain("line", {"--method", "saliency,grad-cam"});
  EXPECT_NE(one.out.find("saliency of '"), std::string::npos) << "of one a line a map: " << one.out;
}

TEST_F(Explanations, BenchmarkGivesMethodByMetric) {
  const std::string file = *folder_ / "table.json";
  const Result result = tapescope_program(
      {"benchmark-explanations", "--run", run(), "--data", images(), "--masks", masks(), "--method",
       "saliency,grad-cam", "--limit", "3", "--out", file, "--cascade", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json table = json::parse(result.out);
  EXPECT_EQ(table, json::parse(text_of(file)));
  EXPECT_EQ(table["images"], 3);
  EXPECT_EQ(table["methods"].size(), 2u + 3u);
  ASSERT_EQ(table["cascade"].size(), 4u);
  EXPECT_EQ(table["cascade"][0]["layer"], "fc2");
  EXPECT_EQ(table["cascade"][3]["layer"], "conv1");
  int told = 0;
  for (const json& step : table["cascade"]) {
    for (const char* method : {"saliency", "grad-cam"}) {
      const json& similarity = step["methods"][method];
      if (similarity.is_null()) continue;  // a map of one value everywhere has no ranks
      ++told;
      EXPECT_LT(similarity.get<double>(), 1) << step;
      EXPECT_GE(similarity.get<double>(), -1) << step;
    }
  }
  EXPECT_GE(told, 4) << table["cascade"];
  EXPECT_GT(table["mask_area"], 0.02);
  EXPECT_LT(table["mask_area"], 0.12);
  fs::remove(masks() + "/test/blue/0000.png");
  expect_refused(tapescope_program({"benchmark-explanations", "--run", run(), "--data", images(),
                                    "--masks", masks(), "--limit", "0", "--method", "saliency"}),
                 "has no mask");
}

}  // namespace
}  // namespace tapescope
