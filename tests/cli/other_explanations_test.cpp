// Explanations that are no maps, as a user asks for them.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

// A small net that tells red pictures from blue ones.
class OtherExplanations : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    write_colours(data());
    trained_ = tapescope_program(
        {"train", "--data",       data(), "--model",      "lenet", "--epochs",
         "6",     "--batch-size", "4",    "--image-size", "24",    "--lr",
         "0.01",  "--log-every",  "4",    "--seed",       "1",     "--keep-checkpoints",
         "3",     "--out",        run()});
    for (int i = 0; i < 6; ++i) {
      const fs::path to = *folder_ / "concept";
      fs::create_directories(to);
      write_png(to / fmt::format("{}.png", i), coloured(0, 24, 900 + static_cast<unsigned>(i)));
      fs::create_directories(*folder_ / "any");
      for (int label = 0; label < 3; ++label) {
        write_png(*folder_ / "any" / fmt::format("{}-{}.png", label, i),
                  coloured(label, 24, 700 + static_cast<unsigned>(10 * label + i)));
      }
    }
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override { ASSERT_EQ(trained_.status, 0) << trained_.err; }
  static std::string data() { return *folder_ / "data"; }
  static std::string run() { return *folder_ / "run"; }
  static std::string red() { return data() + "/test/red/22.png"; }
  static Result explain(const Words& more) {
    Words words{"explain", "--run", run(), "--out", *folder_ / "out"};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  }
  static void expect_refused(const Result& result, const std::string& part) {
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }
  static inline std::unique_ptr<TemporaryFolder> folder_;
  static inline Result trained_;
};

TEST_F(OtherExplanations, TracInNamesWhatTaughtTheAnswer) {
  const Result result = explain({red(), "--tracin", "--data", data(), "--shown", "3", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json found = json::parse(result.out);
  EXPECT_EQ(found["checkpoints"].size(), 3u);
  EXPECT_EQ(found["checkpoints"][2]["epoch"], 6);
  EXPECT_GT(found["checkpoints"][0]["learning_rate"], 0);
  const json answer = found["answers"][0];
  ASSERT_EQ(answer["proponents"].size(), 3u);
  for (const json& example : answer["proponents"]) EXPECT_EQ(example["class"], answer["target"]);
  EXPECT_GE(answer["proponents"][0]["score"], answer["proponents"][1]["score"]);
  EXPECT_LE(answer["opponents"][0]["score"], answer["proponents"][2]["score"]);
  EXPECT_TRUE(fs::exists(*folder_ / "out/tracin.png"));
  const Result all = explain({red(), "--tracin", "--data", data(), "--parameters", "*", "--json"});
  ASSERT_EQ(all.status, 0) << all.err;
  EXPECT_EQ(json::parse(all.out)["parameters"], "*");
  expect_refused(explain({red(), "--tracin", "--data", data(), "--parameters", "no*"}),
                 "matches none");
  expect_refused(explain({red(), "--tracin"}), "--data");
  // A run without kept checkpoints.
  fs::create_directories(*folder_ / "bare");
  fs::copy(run(), *folder_ / "bare",
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  for (const char* epoch : {"004", "005", "006"}) {
    fs::remove(*folder_ / "bare/checkpoints" / fmt::format("epoch-{}.safetensors", epoch));
  }
  expect_refused(tapescope_program({"explain", "--run", *folder_ / "bare", red(), "--tracin",
                                    "--data", data(), "--out", *folder_ / "out"}),
                 "--keep-checkpoints");
}

TEST_F(OtherExplanations, NearestExamplesAreOfTheColour) {
  const Result result =
      explain({red(), "--nearest-examples", "--data", data(), "--shown", "4", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json found = json::parse(result.out);
  for (const json& example : found["answers"][0]["nearest"]) {
    EXPECT_EQ(example["class"], "red");
    EXPECT_LE(example["score"], 1.0001);
  }
  // The picture itself is nearest to itself.
  const Result own = explain({data() + "/train/red/13.png", "--nearest-examples", "--data", data(),
                              "--layer", "fc1/relu", "--json"});
  ASSERT_EQ(own.status, 0) << own.err;
  const json nearest = json::parse(own.out)["answers"][0]["nearest"][0];
  EXPECT_NEAR(nearest["score"], 1, 1e-6);
  EXPECT_NE(nearest["image"].get<std::string>().find("red/13.png"), std::string::npos);
  expect_refused(explain({red(), "--nearest-examples", "--data", data(), "--layer", "fc1/rel"}),
                 "fc1/relu");
}

TEST_F(OtherExplanations, AConceptSpeaksForItsClassAndAgainstTheOther) {
  const auto ask = [&](const std::string& target) {
    return explain({red(), data() + "/test/red/23.png", data() + "/test/blue/22.png", "--tcav",
                    *folder_ / "concept", "--random", *folder_ / "any", "--target", target,
                    "--layer", "fc1/relu", "--json"});
  };
  const Result for_red = ask("red"), for_blue = ask("blue");
  ASSERT_EQ(for_red.status, 0) << for_red.err;
  const json yes = json::parse(for_red.out), no = json::parse(for_blue.out);
  EXPECT_GT(yes["score"], no["score"]);
  EXPECT_EQ(no["score"], 0) << "the more red, the less blue, whatever red is compared with";
  EXPECT_TRUE(no["significant"]);
  EXPECT_LT(no["p"], 0.05);
  EXPECT_LT(no["magnitude"], 0);
  EXPECT_EQ(yes["scores"].size(), 10u);
  EXPECT_TRUE(fs::exists(*folder_ / "out/tcav.json"));
  const std::string concept_folder = *folder_ / "concept", any = *folder_ / "any";
  expect_refused(explain({red(), "--tcav", concept_folder, "--random", any}), "--target");
  expect_refused(explain({red(), "--tcav", concept_folder, "--target", "red"}), "--random");
  expect_refused(
      explain({red(), "--tcav", concept_folder, "--random", concept_folder, "--target", "red"}),
      "at least 12");
  expect_refused(explain({red(), "--tcav", concept_folder, "--random", any, "--target", "green"}),
                 "no class");
}

TEST_F(OtherExplanations, AttacksStayWithinTheirRadius) {
  const Result far = explain({red(), "--pgd", "--target", "blue", "--radius", "200", "--json"});
  ASSERT_EQ(far.status, 0) << far.err;
  const json attacked = json::parse(far.out)["answers"][0];
  EXPECT_EQ(attacked["before"]["class"], "red");
  EXPECT_EQ(attacked["after"]["class"], "blue");
  EXPECT_EQ(attacked["after_8_bits"]["class"], "blue");
  EXPECT_TRUE(attacked["changed"]);
  EXPECT_LE(attacked["linf"], 200.001);
  // What was written answers as was said.
  const Result written =
      tapescope_program({"predict", "--run", run(), attacked["png"].get<std::string>(), "--json"});
  ASSERT_EQ(written.status, 0) << written.err;
  EXPECT_EQ(json::parse(written.out)["images"][0]["top"][0]["class"], "blue");
  EXPECT_NEAR(json::parse(written.out)["images"][0]["top"][0]["probability"],
              attacked["after_8_bits"]["probability"], 1e-5);
  const json none = json::parse(explain({red(), "--fgsm", "--radius", "0", "--json"}).out);
  EXPECT_FALSE(none["answers"][0]["changed"]);
  EXPECT_NEAR(none["answers"][0]["linf"], 0, 1e-4);
  const json one = json::parse(explain({red(), "--fgsm", "--radius", "120", "--json"}).out);
  EXPECT_NEAR(one["answers"][0]["linf"], 120, 1e-3);
  EXPECT_LT(one["answers"][0]["after"]["probability"], one["answers"][0]["before"]["probability"]);
  const json round =
      json::parse(explain({red(), "--pgd", "--norm", "l2", "--radius", "100", "--json"}).out);
  EXPECT_LE(round["answers"][0]["l2"], 100.01);
  EXPECT_GT(round["answers"][0]["l2"], 50);
}

TEST_F(OtherExplanations, AVisualizationRaisesMoreThanPictures) {
  const Result result =
      explain({red(), "--feature-visualization", "--target", "red", "--budget", "200", "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json found = json::parse(result.out);
  EXPECT_GT(found["value"], found["images"][0]["value"]);
  EXPECT_GT(found["value"], found["value_of_grey"]);
  EXPECT_TRUE(fs::exists(*folder_ / "out/feature-visualization.png"));
  EXPECT_EQ(
      explain({"--feature-visualization", "--channel", "conv1/relu[2]", "--budget", "20"}).status,
      0);
  expect_refused(explain({"--feature-visualization"}), "--target");
  expect_refused(explain({"--feature-visualization", "--channel", "conv1/relu[99]"}), "channels");
  expect_refused(explain({"--feature-visualization", "--channel", "fc1/relu[0]"}), "feature map");
  expect_refused(explain({red(), "--fgsm", "--pgd"}), "ask for one");
  expect_refused(explain({"--fgsm"}), "no picture");
}

}  // namespace
}  // namespace tapescope
