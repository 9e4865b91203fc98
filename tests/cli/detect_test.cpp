// A detector trained, evaluated, run and explained as a user does it, on pictures made for the
// test.
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"

namespace tapescope {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class DetectProgram : public ::testing::Test {
 protected:
  // One bright square or one dark bar a picture, in COCO's form.
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    fs::create_directories(*folder_ / "data/annotations");
    fs::create_directories(*folder_ / "data/images");
    for (const char* split : {"train", "val", "test"}) {
      json images = json::array(), annotations = json::array();
      const int count = std::string(split) == "train" ? 48 : 12;
      for (int i = 0; i < count; ++i) {
        const auto& [picture, bar, x, y, w, h] = SquareOrBar(split, i);
        const std::string name = fmt::format("{}-{:02}.png", split, i);
        write_png(*folder_ / "data/images" / name, picture);
        images.push_back({{"id", i + 1}, {"file_name", name}, {"width", 64}, {"height", 48}});
        annotations.push_back({{"id", i + 1},
                               {"image_id", i + 1},
                               {"category_id", bar ? 7 : 3},
                               {"bbox", {x, y, w, h}},
                               {"area", w * h},
                               {"iscrowd", 0}});
      }
      put(*folder_ / "data/annotations" / (std::string(split) + ".json"),
          json{{"images", images},
               {"annotations", annotations},
               {"categories", {{{"id", 3}, {"name", "square"}}, {{"id", 7}, {"name", "bar"}}}}}
              .dump());
    }
    trained_ =
        tapescope_program({"train", "--data", data(), "--model", "centre-detector", "--width",
                           "0.5", "--epochs", "16", "--batch-size", "8", "--json", "--out", run()});
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override { ASSERT_EQ(trained_.status, 0) << trained_.err; }
  static std::string data() { return *folder_ / "data"; }
  static std::string run() { return *folder_ / "run"; }
  static std::string picture(int i) {
    return *folder_ / fmt::format("data/images/test-{:02}.png", i);
  }
  static inline TemporaryFolder* folder_ = nullptr;
  static inline Result trained_;
};

TEST_F(DetectProgram, TrainsAndEvaluates) {
  const json metrics = json::parse(trained_.out);
  EXPECT_GT(metrics["test_ap50"], 0.8);
  const Result result = tapescope_program({"eval", "--run", run(), "--data", data(), "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json evaluated = json::parse(result.out);
  EXPECT_NEAR(evaluated["ap"].get<double>(), metrics["test_ap"].get<double>(), 1e-9);
  EXPECT_EQ(evaluated["classes"].size(), 2u);
  EXPECT_EQ(evaluated["classes"][0]["name"], "bar");
  EXPECT_GE(evaluated["errors"]["right"], 9);
}

TEST_F(DetectProgram, MosaicTrainingGoesOnBitForBit) {
  const auto command = [](const std::string& name) {
    return std::vector<std::string>{"train",
                                    "--data",
                                    data(),
                                    "--model",
                                    "centre-detector",
                                    "--width",
                                    "0.25",
                                    "--augment",
                                    "mosaic",
                                    "--epochs",
                                    "20",
                                    "--batch-size",
                                    "8",
                                    "--checkpoint-every",
                                    "1",
                                    "--statistics-every",
                                    "0",
                                    "--out",
                                    *folder_ / name};
  };
  const auto last = [](const std::string& name) {
    return fs::path(*folder_ / name) / "checkpoints/last.safetensors";
  };
  const Result whole = tapescope_program(command("whole"));
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_NE(whole.err.find("mosaics of four in the first 18 epochs"), std::string::npos);
  Process process(command("part"));
  for (int i = 0; i < 3000 && !fs::exists(last("part")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGINT);
  const Result stopped = process.wait();
  ASSERT_EQ(stopped.status, 130) << stopped.err;
  const Result resumed =
      tapescope_program({"train", "--resume", "--loader-threads", "0", "--out", *folder_ / "part"});
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(get(last("whole")) == get(last("part")));
}

TEST_F(DetectProgram, DetectsAndWritesEveryForm) {
  const std::string out = *folder_ / "boxes";
  const Result result = tapescope_program({"detect", "--run", run(), picture(0), picture(1),
                                           "--json", "--out", out, "--format", "coco,yolo,voc"});
  ASSERT_EQ(result.status, 0) << result.err;
  std::istringstream lines(result.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const json found = json::parse(line);
    ASSERT_FALSE(found["boxes"].empty());
    EXPECT_EQ(found["boxes"][0]["class"], count == 0 ? "square" : "bar");
  }
  EXPECT_EQ(count, 2);
  for (const char* name :
       {"test-00.png", "test-00.txt", "classes.txt", "test-01.xml", "detections.json"}) {
    EXPECT_TRUE(fs::exists(fs::path(out) / name)) << name;
  }
}

TEST_F(DetectProgram, AFolderInOrderAndAStreamThatIsCut) {
  const Result folder = tapescope_program({"detect", "--run", run(), data() + "/images", "--json"});
  ASSERT_EQ(folder.status, 0) << folder.err;
  std::istringstream lines(folder.out);
  std::int64_t expected = 0;
  for (std::string line; std::getline(lines, line); ++expected) {
    EXPECT_EQ(json::parse(line)["frame"], expected);
  }
  EXPECT_EQ(expected, 72);
  EXPECT_EQ(tapescope_program({"detect", "--run", run(), *folder_ / "nothing.png"}).status, 2);
  EXPECT_EQ(tapescope_program({"detect", "--run", run(), "no.mp4"}).status, 2);
  EXPECT_EQ(tapescope_program({"detect", "--run", data(), picture(0)}).status, 2);
}

TEST_F(DetectProgram, ExplainsAllBoxesAndWhatWasMissed) {
  const std::string out = *folder_ / "all";
  const auto explain = [&](std::vector<std::string> words) {
    std::vector<std::string> command = {"explain", "--run", run(),   picture(0),
                                        "--out",   out,     "--json"};
    command.insert(command.end(), words.begin(), words.end());
    return tapescope_program(command);
  };
  const Result all = explain({"--box", "all", "--method", "odam,d-rise", "--budget", "40"});
  ASSERT_EQ(all.status, 0) << all.err;
  const json maps = json::parse(all.out)["maps"];
  ASSERT_GE(maps.size(), 2u);
  const double boxes = static_cast<double>(maps.size()) / 2;
  for (const json& map : maps) {
    EXPECT_EQ(map["verdict"]["fate"], "listed");
    if (map["method"] != "d-rise") continue;
    EXPECT_NEAR(map["forward_passes"], 40 / boxes, 1e-9);
  }
  EXPECT_TRUE(fs::exists(out + "/test-00.box-0.d-rise.png"));
  EXPECT_EQ(explain({"--side", "top", "--method", "d-rise"}).status, 2);
  // With a threshold that nothing reaches, every object is missed, and the cell that fits it best
  // is of its class.
  const Result missed =
      explain({"--missed", "--data", data(), "--threshold", "0.999999", "--method", "odam"});
  ASSERT_EQ(missed.status, 0) << missed.err;
  const json of_missed = json::parse(missed.out)["maps"];
  ASSERT_EQ(of_missed.size(), 1u);
  EXPECT_EQ(of_missed[0]["missed"]["surest_class"], "square");
  EXPECT_GT(of_missed[0]["missed"]["iou"], 0.5);
  EXPECT_EQ(of_missed[0]["verdict"]["fate"], "below the threshold");
  EXPECT_TRUE(fs::exists(out + "/test-00.missed-0.odam.png"));
  const Result none = explain({"--missed", "--data", data(), "--method", "odam"});
  EXPECT_EQ(none.status, 0) << none.err;
  EXPECT_TRUE(json::parse(none.out)["maps"].empty()) << "nothing is missed";
}

TEST_F(DetectProgram, ScoresWhatItExplains) {
  const std::string out = *folder_ / "scored";
  const Result one =
      tapescope_program({"explain", "--run", run(), picture(0), "--score", "--data", data(),
                         "--method", "input-x-gradient,odam", "--out", out, "--json"});
  ASSERT_EQ(one.status, 0) << one.err;
  const json scores = json::parse(one.out);
  EXPECT_EQ(scores["controls"].size(), 3u);
  const json gradient = scores["maps"][0]["quality"];
  EXPECT_GT(gradient["energy"], gradient["chance"]);
  // Random heads turn the map into another one.
  EXPECT_LT(gradient["head"], 0.8);
  EXPECT_TRUE(gradient["mask"].is_null());
  const std::string table = *folder_ / "table.json";
  const Result set = tapescope_program({"benchmark-explanations", "--run", run(), "--data", data(),
                                        "--limit", "2", "--method", "odam", "--out", table});
  ASSERT_EQ(set.status, 0) << set.err;
  EXPECT_NE(set.out.find("square, 1 box\n"), std::string::npos) << set.out;
  EXPECT_NE(set.out.find("control-random"), std::string::npos);
  EXPECT_EQ(tapescope_program(
                {"benchmark-explanations", "--run", run(), "--data", data(), "--split", "later"})
                .status,
            2);
}

TEST_F(DetectProgram, ExplainsABox) {
  const std::string out = *folder_ / "why";
  const Result result =
      tapescope_program({"explain", "--run", run(), picture(0), "--box", "0", "--method",
                         "grad-cam,hires-cam,integrated-gradients,lrp-epsilon-plus,occlusion",
                         "--budget", "60", "--out", out, "--json"});
  ASSERT_EQ(result.status, 0) << result.err;
  const json maps = json::parse(result.out)["maps"];
  ASSERT_EQ(maps.size(), 5u);
  for (const json& map : maps) {
    EXPECT_EQ(map["target"], "square");
    EXPECT_GT(map["energy_inside"], map["chance"]) << map["method"];
  }
  EXPECT_TRUE(fs::exists(out + "/sheet.png"));
  const Result side = tapescope_program({"explain", "--run", run(), picture(0), "--side", "left",
                                         "--method", "saliency", "--out", out, "--json"});
  ASSERT_EQ(side.status, 0) << side.err;
  EXPECT_EQ(json::parse(side.out)["maps"][0]["target"], "square, left side");
  EXPECT_EQ(tapescope_program({"explain", "--run", run(), picture(0), "--at", "5,5", "--method",
                               "saliency", "--out", out})
                .status,
            0);
  const std::vector<std::vector<std::string>> wrong = {{"--box", "99"},
                                                       {"--at", "500,5"},
                                                       {"--at", "here"},
                                                       {"--side", "inside"},
                                                       {"--target", "dog"},
                                                       {"--box", "first"},
                                                       {"--box", "0", "--at", "5,5"},
                                                       {"--against", "dog"},
                                                       {"--against", "peak"},
                                                       {"--missed"},
                                                       {"--data", "/nowhere"}};
  for (const auto& words : wrong) {
    std::vector<std::string> command = {"explain",  "--run",    run(),   picture(0),
                                        "--method", "saliency", "--out", out};
    command.insert(command.end(), words.begin(), words.end());
    EXPECT_EQ(tapescope_program(command).status, 2) << words[0] << " " << words[1];
  }
}

}  // namespace
}  // namespace tapescope
