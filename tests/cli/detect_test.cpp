// A detector trained, evaluated, run and explained as a user does it, on pictures made for the
// test.
#include <algorithm>
#include <chrono>
#include <map>
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
    write_squares_and_bars(*folder_ / "data");
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
  // A picture that the annotations do not know leaves nothing behind.
  const fs::path stranger = *folder_ / "stranger.png", left = *folder_ / "left";
  fs::copy_file(picture(0), stranger);
  const Result unknown = tapescope_program({"explain", "--run", run(), stranger, "--out", left,
                                            "--missed", "--data", data(), "--method", "odam"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("no annotation of a picture called 'stranger.png'"), std::string::npos)
      << unknown.err;
  EXPECT_FALSE(fs::exists(left));
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
  EXPECT_NE(set.out.find("square, "), std::string::npos) << set.out;
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

// Parsed lines of --json.
std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST_F(DetectProgram, ResultsCarryTheDatasOwnIds) {
  const std::string out = *folder_ / "ids";
  const auto detect = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"detect", "--run", run(),           picture(3), picture(0),
                                      "--out",  out,     "--no-pictures", "--format", "coco"};
    words.insert(words.end(), more.begin(), more.end());
    return tapescope_program(words);
  };
  const Result with = detect({"--data", data()});
  ASSERT_EQ(with.status, 0) << with.err;
  const json found = json::parse(text_of(out + "/detections.json"));
  ASSERT_GE(found.size(), 2u);
  EXPECT_EQ(found[0]["image_id"], 4);
  EXPECT_EQ(found[0]["category_id"], 7) << "a bar";
  EXPECT_EQ(found.back()["image_id"], 1);
  EXPECT_EQ(found.back()["category_id"], 3);
  // Without the data, what the ids stand for lies beside.
  const Result without = detect({});
  ASSERT_EQ(without.status, 0) << without.err;
  const json results = json::parse(text_of(out + "/detections.json")),
             set = json::parse(text_of(out + "/detections_dataset.json"));
  ASSERT_EQ(set["images"].size(), 2u);
  EXPECT_EQ(set["images"][0]["file_name"], picture(3));
  EXPECT_EQ(set["images"][0]["id"], results[0]["image_id"]);
  EXPECT_EQ(set["images"][0]["width"], 64);
  std::map<int, std::string> names;
  for (const json& c : set["categories"]) names[c["id"]] = c["name"];
  EXPECT_EQ(names[results[0]["category_id"]], "bar");
  EXPECT_EQ(set["annotations"].size(), results.size());
  const Result video = tapescope_program({"detect", "--run", run(), *folder_ / "strange.png",
                                          "--out", out, "--format", "coco", "--data", data()});
  EXPECT_EQ(video.status, 2);
  EXPECT_NE(video.err.find("has no image"), std::string::npos) << video.err;
}

TEST_F(DetectProgram, BoxesAreInThePicturesFrameEverywhere) {
  // Three times as large and with a band below: the input shrinks it and puts borders beside it.
  const SquareOrBar small("test", 0);
  Image large(small.picture.height * 3 + 150, small.picture.width * 3, 3, 110);
  for (int y = 0; y < small.picture.height * 3; ++y) {
    for (int x = 0; x < large.width; ++x) {
      std::copy_n(small.picture.at(y / 3, x / 3), 3, large.at(y, x));
    }
  }
  const std::string file = *folder_ / "large.png", out = *folder_ / "large-out";
  write_png(file, large);
  const Result detected =
      tapescope_program({"detect", "--run", run(), file, "--threshold", "0.02", "--json"});
  ASSERT_EQ(detected.status, 0) << detected.err;
  const json boxes = lines_of(detected.out).at(0)["boxes"];
  ASSERT_FALSE(boxes.empty());
  for (const json& box : boxes) {
    EXPECT_GT(box["box"][2].get<double>() * box["box"][3].get<double>(), 0) << "no area: " << box;
  }
  const Result explained =
      tapescope_program({"explain", "--run", run(), file, "--box", "all", "--threshold", "0.02",
                         "--method", "odam", "--out", out, "--json"});
  ASSERT_EQ(explained.status, 0) << explained.err;
  const json maps = json::parse(explained.out)["maps"];
  ASSERT_EQ(maps.size(), boxes.size()) << "the same list";
  for (std::size_t i = 0; i < maps.size(); ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      EXPECT_NEAR(maps[i]["box"][k].get<double>(), boxes[i]["box"][k].get<double>(), 1e-2);
    }
    // A cell is x, y: the place that --at takes, through the letterbox.
    const json& frame = maps[i]["letterbox"];
    const double scale = frame["scale"],
                 x = (maps[i]["cell"][0].get<double>() * 4 + 2 - frame["left"].get<double>()) /
                     scale,
                 y = (maps[i]["cell"][1].get<double>() * 4 + 2 - frame["top"].get<double>()) /
                     scale;
    if (x < 0 || y < 0 || x >= large.width || y >= large.height) continue;
    const Result at =
        tapescope_program({"explain", "--run", run(), file, "--at", fmt::format("{},{}", x, y),
                           "--method", "odam", "--out", out, "--json"});
    ASSERT_EQ(at.status, 0) << at.err;
    EXPECT_EQ(json::parse(at.out)["maps"][0]["cell"], maps[i]["cell"]);
  }
}

TEST_F(DetectProgram, OneBadPictureAmongManyCostsNoOther) {
  const fs::path folder = *folder_ / "with-a-bad-one";
  fs::create_directories(folder);
  fs::copy_file(picture(0), folder / "a.png");
  put(folder / "b.png", std::string("no picture"));
  fs::copy_file(picture(1), folder / "c.png");
  put(folder / "._c.png", std::string("a Mac's resource fork"));
  const Result result = tapescope_program({"detect", "--run", run(), folder, "--json"});
  EXPECT_EQ(result.status, 2);
  const std::vector<json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 3u) << result.out << result.err;
  EXPECT_FALSE(lines[0]["boxes"].empty());
  EXPECT_NE(lines[1]["error"].get<std::string>().find("b.png"), std::string::npos);
  EXPECT_EQ(lines[2]["frame"], 1);
  const Result why = tapescope_program(
      {"explain", "--run", run(), folder, "--out", *folder_ / "why-bad", "--json"});
  EXPECT_EQ(why.status, 2);
  EXPECT_EQ(json::parse(why.out)["maps"].size(), 7u) << "three methods of two, and an error";
}

TEST_F(DetectProgram, OutputsAreNeverInputs) {
  const fs::path folder = *folder_ / "mine", link = *folder_ / "link";
  fs::create_directories(folder);
  fs::create_directory_symlink(folder, link);
  fs::copy_file(picture(0), folder / "a.png");
  fs::copy_file(picture(1), folder / "b.png");
  put(folder / "a.txt", std::string("0 0.5 0.5 0.1 0.1\n"));
  put(folder / "v.mp4", std::string("a video"));
  const std::vector<std::uint8_t> a = get(folder / "a.png"), b = get(folder / "b.png");
  const auto refused = [&](std::vector<std::string> words, const std::string& part) {
    words.insert(words.begin(), {"detect", "--run", run()});
    const Result result = tapescope_program(words);
    EXPECT_EQ(result.status, 2) << part;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  };
  refused({folder, "--out", folder}, "--out would write over");
  refused({folder / "a.png", "--out", link}, "--out would write over");
  refused({folder / "a.png", "--out", folder / ".." / "mine"}, "--out would write over");
  refused({folder, "--video", folder / "b.png"}, "--video would write over");
  refused({folder, "--video", link / "a.png"}, "--video would write over");
  // Labels drawn by hand, beside the pictures or elsewhere, are nobody's output; results are.
  refused({folder, "--no-pictures", "--format", "yolo", "--out", link}, "write over");
  const fs::path labels = *folder_ / "my-labels";
  put(labels / "a.xml", std::string("<annotation><object><name>bar</name></object></annotation>"));
  refused({folder, "--no-pictures", "--format", "voc", "--out", labels}, "a.xml");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(tapescope_program({"detect", "--run", run(), folder / "b.png", "--no-pictures",
                                 "--format", "yolo,voc,coco", "--out", *folder_ / "again"})
                  .status,
              0);
  }
  EXPECT_TRUE(get(folder / "a.png") == a);
  EXPECT_TRUE(get(folder / "b.png") == b);
  EXPECT_EQ(text_of(folder / "a.txt"), "0 0.5 0.5 0.1 0.1\n");
  EXPECT_FALSE(fs::exists(folder / "classes.txt"));
}

TEST_F(DetectProgram, VideosKeepTheirFramesTimesAndRate) {
  if (std::system("ffmpeg -version >/dev/null 2>&1") != 0) GTEST_SKIP() << "ffmpeg is not there";
  const std::string even = *folder_ / "a:even.mkv", uneven = *folder_ / "uneven.mp4";
  const std::string source =
      "ffmpeg -v error -y -f lavfi -i testsrc=s=64x48:r=10:d=2,setsar=4/3 -g 1 ";
  ASSERT_EQ(std::system((source + "'file:" + even + "'").c_str()), 0);
  ASSERT_EQ(
      std::system(
          (source + "-vf \"select='not(mod(n\\,3))+eq(n\\,4)'\" -vsync vfr " + uneven).c_str()),
      0);
  const std::string out = *folder_ / "drawn.mp4", out2 = *folder_ / "drawn2.mp4";
  const Result first =
      tapescope_program({"detect", "--run", run(), even, "--json", "--video", out});
  ASSERT_EQ(first.status, 0) << first.err;
  const std::vector<json> lines = lines_of(first.out);
  ASSERT_EQ(lines.size(), 20u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["frame"], i);
    EXPECT_NEAR(lines[i]["time"].get<double>(), static_cast<double>(i) / 10, 1e-9);
  }
  const Result second =
      tapescope_program({"detect", "--run", run(), uneven, "--json", "--video", out2});
  ASSERT_EQ(second.status, 0) << second.err;
  std::vector<double> times;
  for (const json& line : lines_of(second.out)) times.push_back(line["time"]);
  EXPECT_EQ(times, (std::vector<double>{0, 0.3, 0.4, 0.6, 0.9, 1.2, 1.5, 1.8}));
  const auto probed = [&](const std::string& file, const std::string& entries) {
    const std::string text = *folder_ / "probed";
    EXPECT_EQ(std::system(("ffprobe -v error -select_streams v:0 -show_entries " + entries +
                           " -of default=noprint_wrappers=1:nokey=1 " + file + " > " + text)
                              .c_str()),
              0);
    return text_of(text);
  };
  EXPECT_EQ(probed(out, "stream=sample_aspect_ratio,r_frame_rate,avg_frame_rate,nb_frames"),
            "4:3\n10/1\n10/1\n20\n");
  std::istringstream written(probed(out2, "frame=pts_time"));
  std::vector<double> kept;
  for (double t; written >> t;) kept.push_back(t);
  ASSERT_EQ(kept.size(), times.size());
  for (std::size_t i = 0; i < times.size(); ++i) EXPECT_NEAR(kept[i], times[i], 1e-4);
  // The frames of one that is cut off are kept, and it is told.
  const fs::path cut = *folder_ / "cut.mkv";
  fs::copy_file(even, cut);
  fs::resize_file(cut, fs::file_size(cut) * 6 / 10);
  const Result part = tapescope_program({"detect", "--run", run(), cut, "--json"});
  EXPECT_EQ(part.status, 2);
  EXPECT_NE(part.err.find("cut off"), std::string::npos) << part.err;
  EXPECT_GT(lines_of(part.out).size(), 2u);
  EXPECT_LT(lines_of(part.out).size(), 20u);
}

}  // namespace
}  // namespace tapescope
