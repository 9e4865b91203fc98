// A detector's losses, targets, data and streams, against figures worked out by hand.
#include "tools/detection/detector.h"
#include "tools/detection/coco_results.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/detection/detection_losses.h"
#include "tools/detection/pipe.h"
#include "tools/detection/ring.h"
#include "tools/detection/stream.h"
#include "tools/report/png.h"

namespace tapescope::detection {
namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// From the probability, as the paper writes it.
double focal_by_hand(const std::vector<double>& logits, const std::vector<double>& heat) {
  double sum = 0, centres = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double p = sigmoid_of(logits[i]);
    if (heat[i] == 1) {
      sum -= (1 - p) * (1 - p) * std::log(p);
      ++centres;
    } else {
      sum -= std::pow(1 - heat[i], 4) * p * p * std::log(1 - p);
    }
  }
  return sum / std::max(1.0, centres);
}

Tensor tensor(const Shape& shape, const std::vector<double>& values) {
  Tensor t({DType::f32, shape});
  for (std::size_t i = 0; i < values.size(); ++i) {
    t.values<float>()[i] = static_cast<float>(values[i]);
  }
  return t;
}

TEST(DetectionLosses, FocalIsThePapersFormulaWithItsGradient) {
  const std::vector<double> logits = {0.3, -1.2, 2.0, -4.0, 0.0, 5.0, -0.7, 1.1};
  const std::vector<double> heat = {1, 0, 0.5, 0.2, 1, 0, 0.9, 1};
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({2, 2, 1, 2}, logits));
  const Var y = tape.input("y", tensor({2, 2, 1, 2}, heat));
  const Var loss = mean(penalty_reduced_focal_loss(x, y));
  EXPECT_NEAR(loss.value().item(), focal_by_hand(logits, heat), 1e-5);
  const Var gradient = tape.gradient(loss, {x})[0];
  for (std::size_t i = 0; i < logits.size(); ++i) {
    constexpr double kStep = 1e-4;
    auto up = logits, down = logits;
    up[i] += kStep;
    down[i] -= kStep;
    const double slope = (focal_by_hand(up, heat) - focal_by_hand(down, heat)) / (2 * kStep);
    EXPECT_NEAR(gradient.value().item(static_cast<std::int64_t>(i)), slope,
                1e-4 * (1 + std::abs(slope)));
  }
}

TEST(DetectionLosses, FocalOfAHugeLogitIsFinite) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", tensor({1, 1, 1, 2}, {200, -200}));
  const Var y = tape.input("y", tensor({1, 1, 1, 2}, {0, 1}));
  // Each costs its logit: p^2 (-log(1 - p)) -> 200, and -log p -> 200; one centre.
  EXPECT_NEAR(mean(penalty_reduced_focal_loss(x, y)).value().item(), 400, 1e-3);
}

TEST(DetectionTask, TellsBothLossesAndThePositivesOfAnImage) {
  const DetectorConfig config{{"a", "b"}, 16, 16, 1, 0};  // 4x4 cells
  const DetectionTask task(config, nullptr);
  std::vector<double> heat(2 * 16 * 2, 0), logits(heat.size(), -1);
  heat[3] = heat[8] = heat[9] = 1;  // three centres in the first image, one in the second
  heat[32 + 5] = 1;
  heat[4] = 0.999;
  Tape tape(Device::cpu(), Mode::evaluation);
  const NamedVars inputs = {
      {"heat", tape.input("heat", tensor({2, 4, 4, 2}, heat))},
      {"sides", tape.input("sides", tensor({2, 4, 4, 4}, std::vector<double>(128, 8)))},
      {"weight", tape.input("weight", tensor({2, 4, 4, 1}, std::vector<double>(32, 0.5)))}};
  const NamedVars outputs = {
      {"heat", tape.input("logits", tensor({2, 4, 4, 2}, logits))},
      {"ltrb", tape.input("ltrb", tensor({2, 4, 4, 4}, std::vector<double>(128, 3)))}};
  const Loss loss = task.loss(inputs, outputs);
  ASSERT_EQ(loss.terms.size(), 3u);
  EXPECT_EQ(loss.terms[0].name, "heat_map_loss");
  EXPECT_EQ(loss.terms[1].name, "box_loss");
  EXPECT_EQ(loss.terms[2].name, "positives");
  EXPECT_NEAR(mean(loss.terms[0].samples).value().item(), focal_by_hand(logits, heat), 1e-5);
  EXPECT_EQ(loss.terms[2].samples.value().item(0), 3);
  EXPECT_EQ(loss.terms[2].samples.value().item(1), 1);
  for (std::int64_t n = 0; n < 2; ++n) {
    EXPECT_FLOAT_EQ(static_cast<float>(loss.samples.value().item(n)),
                    static_cast<float>(loss.terms[0].samples.value().item(n) +
                                       loss.terms[1].samples.value().item(n)));
  }
}

double giou_by_hand(const double* a, const double* b) {
  const double w = std::max(0.0, std::min(a[2], b[2]) - std::max(a[0], b[0]));
  const double h = std::max(0.0, std::min(a[3], b[3]) - std::max(a[1], b[1]));
  const double either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h;
  const double hull =
      (std::max(a[2], b[2]) - std::min(a[0], b[0])) * (std::max(a[3], b[3]) - std::min(a[1], b[1]));
  return w * h / either - (hull - either) / hull;
}

TEST(DetectionLosses, GeneralisedIouAndItsGradient) {
  // Over one another, one inside the other, apart, the same.
  const double pairs[][2][4] = {{{0, 0, 10, 10}, {5, 2, 14, 9}},
                                {{0, 0, 10, 10}, {2, 3, 6, 7}},
                                {{0, 0, 4, 4}, {10, 12, 14, 20}},
                                {{1, 2, 9, 8}, {1, 2, 9, 8}}};
  for (const auto& pair : pairs) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const std::vector<double> a(pair[0], pair[0] + 4), b(pair[1], pair[1] + 4);
    const Var x = tape.input("a", tensor({1, 1, 1, 4}, a));
    const Var y = tape.input("b", tensor({1, 1, 1, 4}, b));
    const Var giou = sum(generalised_iou(x, y));
    EXPECT_NEAR(giou.value().item(), giou_by_hand(pair[0], pair[1]), 1e-5);
    if (a == b) continue;  // a corner of the function
    const Var gradient = tape.gradient(giou, {x})[0];
    for (int k = 0; k < 4; ++k) {
      constexpr double kStep = 1e-5;
      auto up = a, down = a;
      up[static_cast<std::size_t>(k)] += kStep;
      down[static_cast<std::size_t>(k)] -= kStep;
      const double slope =
          (giou_by_hand(up.data(), b.data()) - giou_by_hand(down.data(), b.data())) / (2 * kStep);
      EXPECT_NEAR(gradient.value().item(k), slope, 1e-3 * (1 + std::abs(slope)));
    }
  }
}

TEST(DetectionLosses, SidesAreSeenFromTheCellsCorner) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var boxes =
      decode_sides(tape.input("x", tensor({1, 2, 3, 4}, std::vector<double>(24, 5))), 4);
  const auto v = boxes.value().values<float>();
  const float* last = v.data() + 5 * 4;  // cell y 1, x 2: corner (8, 4)
  EXPECT_EQ(last[0], 3);
  EXPECT_EQ(last[1], -1);
  EXPECT_EQ(last[2], 13);
  EXPECT_EQ(last[3], 9);
}

TEST(DetectionSource, TargetsOfTwoBoxes) {
  const std::vector<Object> objects = {{{8, 8, 4, 4}, 1, false, false, 16},
                                       {{0, 0, 32, 24}, 0, false, false, 768}};
  std::vector<float> heat(8 * 8 * 2), sides(8 * 8 * 4), weight(8 * 8);
  draw_targets(objects, 32, 32, 2, heat.data(), sides.data(), weight.data());
  // The large one's centre (16, 12) lies in cell x 4, y 3; the small one's (10, 10) in 2, 2.
  EXPECT_EQ(heat[(3 * 8 + 4) * 2 + 0], 1);
  EXPECT_EQ(heat[(2 * 8 + 2) * 2 + 1], 1);
  EXPECT_EQ(std::count(heat.begin(), heat.end(), 1.0f), 2);
  EXPECT_EQ(sides[(2 * 8 + 2) * 4 + 2], 12) << "the small one is drawn over the large one";
  EXPECT_EQ(sides[(3 * 8 + 4) * 4 + 2], 32);
  EXPECT_NEAR(weight[2 * 8 + 2], std::log(16.0), 1e-6) << "all of its weight in one cell";
  double large = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) large += i == 2 * 8 + 2 ? 0 : weight[i];
  EXPECT_GT(large, 0.8 * std::log(768.0));  // one cell of it is under the small box
  EXPECT_LE(large, std::log(768.0));
}

TEST(DetectionSource, LetterboxGoesThereAndBack) {
  const Letterbox frame = letterbox_of(480, 640, 240, 320);
  EXPECT_EQ(frame.scale, 0.5);
  EXPECT_EQ(frame.top, 0);
  const Letterbox tall = letterbox_of(600, 300, 240, 320);
  EXPECT_EQ(tall.scale, 0.4);
  EXPECT_EQ(tall.left, 100);
  const Box box{30, 50, 100, 200};
  const Box back = tall.into_picture(tall.into_input(box), 600, 300);
  EXPECT_NEAR(back.x, box.x, 1e-9);
  EXPECT_NEAR(back.h, box.h, 1e-9);
  Image picture(600, 300, 3, 9);
  const Image input = letterboxed(picture, tall, 240, 320);
  EXPECT_EQ(input.at(10, 99)[0], 114);
  EXPECT_EQ(input.at(10, 100)[0], 9);
}

class VocFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "Annotations");
    std::filesystem::create_directories(folder_ / "JPEGImages");
    write_png(folder_ / "JPEGImages/a.png", Image(20, 30, 3, 50));
  }
  void annotate(const std::string& name, const std::string& inside) {
    put(folder_ / ("Annotations/" + name + ".xml"), "<annotation>" + inside + "</annotation>");
  }
  static std::string size(int w = 30, int h = 20) {
    return fmt::format("<size><width>{}</width><height>{}</height></size>", w, h);
  }
  static std::string object(const std::string& name, int x0, int y0, int x1, int y1) {
    return fmt::format(
        "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
        "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>",
        name, x0, y0, x1, y1);
  }
  std::string complaint(std::vector<std::string> classes = {}) {
    try {
      open_detection_data(folder_.path(), {.classes = classes});
    } catch (const Error& error) {
      EXPECT_EQ(error.blame(), Blame::usage);
      return error.what();
    }
    return "";
  }
  TemporaryFolder folder_;
};

TEST_F(VocFolder, ReadsClipsAndCounts) {
  annotate("a", size() + object("cell", 1, 1, 10, 10) + object("cell", 21, 11, 40, 20) +
                    object("cell", 5, 5, 5, 5) + object("cell", 9, 5, 3, 9));
  const DetectionData data = open_detection_data(folder_.path());
  EXPECT_EQ(data.kind, "voc");
  EXPECT_EQ(data.classes, std::vector<std::string>{"cell"});
  ASSERT_EQ(data.train.size(), 1u);
  ASSERT_EQ(data.train[0].objects.size(), 2u);
  EXPECT_EQ(data.train[0].objects[0].box, (Box{0, 0, 10, 10}));
  EXPECT_EQ(data.train[0].objects[1].box, (Box{20, 10, 10, 10}));
  EXPECT_EQ(data.notices.size(), 3u);  // clipped, without area, inverted
}

TEST_F(VocFolder, WhatCannotBeUnderstoodIsNamed) {
  annotate("a", size() + object("cell", 1, 1, 10, 10));
  EXPECT_NE(complaint({"dog"}).find("does not know the class 'cell'"), std::string::npos);
  annotate("b", size() + "<filename>b.jpg</filename>" + object("cell", 1, 1, 10, 10));
  EXPECT_NE(complaint().find("'b.jpg', which is not in"), std::string::npos);
  annotate("b", "<object>");
  EXPECT_NE(complaint().find("cannot be read as XML"), std::string::npos);
  std::filesystem::remove(folder_ / "Annotations/b.xml");
  annotate("a", size());
  EXPECT_NE(complaint().find("not one object"), std::string::npos);
  annotate("a", size(31) + object("cell", 1, 1, 10, 10));
  EXPECT_NE(complaint().find("is 30x20, but"), std::string::npos) << "the picture has another size";
  annotate("a", "<size><width>wide</width></size>");
  EXPECT_NE(complaint().find("no number in <width>"), std::string::npos);
}

TEST_F(VocFolder, SizeIsThePicturesWhereNoneIsSaid) {
  for (const std::string& said : {std::string(), size(0, 0)}) {
    annotate("a", said + object("cell", 1, 1, 40, 10));
    const DetectionData data = open_detection_data(folder_.path());
    EXPECT_EQ(data.train.at(0).width, 30);
    EXPECT_EQ(data.train[0].objects.at(0).box, (Box{0, 0, 30, 10}));
    EXPECT_EQ(data.notices.size(), 2u);  // no size, clipped
  }
}

TEST_F(VocFolder, FlagsOfObjectsAreKept) {
  std::string hard = object("cell", 1, 1, 10, 10);
  hard.replace(hard.find("<difficult>0"), 12, "<difficult> 1 ");
  annotate("a", size() + hard + object("cell", 11, 1, 20, 10));
  const DetectionData voc = open_detection_data(folder_.path());
  EXPECT_TRUE(voc.train.at(0).objects.at(0).difficult);
  EXPECT_FALSE(voc.train[0].objects.at(1).difficult);
  std::filesystem::remove_all(folder_ / "Annotations");
  std::filesystem::rename(folder_ / "JPEGImages", folder_ / "images");
  const std::string start =
      R"({"images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
          "categories": [{"id": 1, "name": "cell"}], "annotations": [)";
  put(folder_ / "train.json",
      start + R"({"id": 4, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "iscrowd": 1,
                  "area": 33}, {"id": 5, "image_id": 1, "category_id": 1,
                  "bbox": [10, 5, 8, 8]}]})");
  const DetectionData coco = open_detection_data(folder_.path());
  const auto source = std::make_shared<DetectionSource>(coco.train, 1, 32, 32, Augment::none);
  DetectionMetrics metrics(*source);
  Batch batch;
  batch.indices = {0};
  metrics.add(batch, tensor({1}, {0}), tensor({1, 8, 8, 5}, std::vector<double>(320, 0)));
  const std::vector<Truth> truths = metrics.truths();
  ASSERT_EQ(truths.size(), 2u);
  EXPECT_TRUE(truths[0].crowd);
  EXPECT_EQ(truths[0].area, 33) << "as annotated, of the mask";
  EXPECT_FALSE(truths[1].crowd);
  EXPECT_EQ(truths[1].area, 64);
  std::vector<float> image(32 * 32 * 3), heat(64), sides(256), weight(64);
  void* const rows[] = {image.data(), heat.data(), sides.data(), weight.data()};
  source->load(0, {}, rows);
  EXPECT_EQ(std::count(heat.begin(), heat.end(), 1.0f), 1) << "a crowd is no object to learn";
  put(folder_ / "train.json",
      start.substr(0, start.find(']')) +
          R"(, {"id": 1, "file_name": "a.png", "width": 30, "height": 20}], "annotations": [],
             "categories": []})");
  EXPECT_NE(complaint().find("two images with the id 1"), std::string::npos);
}

TEST_F(VocFolder, WhatIsWrittenReadsBack) {
  SeenImage seen{"a.png", 20, 30, {{{4, 2, 10, 8}, 1, 0.75f, 0, 0}}};
  put(folder_ / "Annotations/a.xml", to_voc_xml(seen, {"x", "y"}));
  const DetectionData data = open_detection_data(folder_.path(), {.classes = {"x", "y"}});
  ASSERT_EQ(data.train.size(), 1u);
  EXPECT_EQ(data.train[0].objects[0].box, (Box{4, 2, 10, 8}));
  EXPECT_EQ(data.train[0].objects[0].category, 1);
  EXPECT_EQ(to_yolo_text(seen), "1 0.300000 0.300000 0.333333 0.400000 0.75\n");
  SeenImage other = seen;
  other.path = "b.png";
  CocoIds ids;
  const std::vector<SeenImage> both = {seen, other};
  const auto coco = nlohmann::json::parse(to_coco_results(both, ids));
  ASSERT_EQ(coco.size(), 2u);
  EXPECT_EQ(coco[1]["image_id"], 2);
  EXPECT_EQ(coco[1]["category_id"], 2);
  EXPECT_EQ(coco[1]["bbox"][3], 8);
  // What the ids stand for, so that the results can be put together with the data again.
  const auto set = nlohmann::json::parse(to_coco_dataset(both, {"x", "y"}, ids));
  EXPECT_EQ(set["images"][1]["id"], 2);
  EXPECT_EQ(set["images"][1]["file_name"], "b.png");
  EXPECT_EQ(set["images"][1]["width"], 30);
  EXPECT_EQ(set["categories"][1]["id"], 2);
  EXPECT_EQ(set["categories"][1]["name"], "y");
  EXPECT_EQ(set["annotations"].size(), 2u);
}

TEST(Detector, DecodesPeaksInOrderAndSuppresses) {
  // 1x2 cells, two classes: p0 p1 and a box each.
  const float predictions[] = {0.5f, 0, 0, 0, 10, 10, 0.5f, 0.9f, 4, 0, 12, 8};
  const std::vector<Seen> found = decode(predictions, 1, 2, 2, 10, 0.01f);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].category, 1);
  EXPECT_EQ(found[1].cell_x, 0) << "equal scores: the earlier cell first";
  EXPECT_EQ(found[2].cell_x, 1);
  EXPECT_EQ(found[0].box, (Box{4, 0, 8, 8}));
  EXPECT_EQ(decode(predictions, 1, 2, 2, 1, 0.01f).size(), 1u);
  std::vector<Seen> seen = {
      {{0, 0, 10, 10}, 0, 0.9f}, {{1, 0, 10, 10}, 0, 0.8f}, {{1, 0, 10, 10}, 1, 0.7f}};
  EXPECT_EQ(suppress(seen, 0.5).size(), 2u);
  EXPECT_EQ(suppress(seen, 0.9).size(), 3u);
}

TEST(Detector, TenThousandBoxesInOnePicture) {
  constexpr int kSide = 320, kMany = 10000;
  std::vector<Object> objects;
  std::vector<Seen> seen;
  for (int i = 0; i < kMany; ++i) {
    const Box box = {i % 100 * 3.0, i / 100 * 3.0, 12, 12};
    objects.push_back({box, i % 2, false, false, 144});
    seen.push_back({box, i % 2, 1 - 1e-5f * static_cast<float>(i), 0, 0});
  }
  constexpr std::size_t kCells = kSide / kStride * kSide / kStride;
  std::vector<float> heat(kCells * 2), sides(kCells * 4), weight(kCells);
  draw_targets(objects, kSide, kSide, 2, heat.data(), sides.data(), weight.data());
  for (float w : weight) ASSERT_TRUE(w >= 0 && std::isfinite(w));
  // Steps of 3 pixels: neighbours of one class are 6 or, a row down, 3 pixels away. What overlaps
  // by more than half, 3 down (9 of 15 rows), goes: every second row is left.
  EXPECT_EQ(suppress(seen, 0.5).size(), 5000u);
  Image picture(kSide, kSide, 3);
  draw_boxes(picture, seen, {"a", "b"});
  EXPECT_TRUE(std::any_of(picture.pixels.begin(), picture.pixels.end(),
                          [](std::uint8_t v) { return v != 0; }));
}

// A file with these bytes, at its beginning.
std::FILE* stream_of(const std::string& bytes) {
  std::FILE* file = std::tmpfile();
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::rewind(file);
  return file;
}

std::string read_until_error(const std::string& bytes, int& frames) {
  std::FILE* file = stream_of(bytes);
  FrameReader reader(file, "stream");
  frames = 0;
  std::string message;
  try {
    while (reader.next()) ++frames;
  } catch (const Error& error) {
    message = error.what();
  }
  std::fclose(file);
  return message;
}

TEST(FrameReader, ReadsPpmAndNoticesDamage) {
  const std::string frame = "P6\n# note\n2 1\n255\nabcdef";
  int frames = 0;
  EXPECT_EQ(read_until_error(frame + frame, frames), "");
  EXPECT_EQ(frames, 2);
  EXPECT_NE(
      read_until_error(frame + frame.substr(0, frame.size() - 2), frames).find("middle of frame 1"),
      std::string::npos);
  EXPECT_EQ(frames, 1) << "what came before is whole";
  EXPECT_NE(read_until_error(frame + "P6 1 1 255\nabc", frames).find("the first was 2x1"),
            std::string::npos);
  EXPECT_NE(read_until_error("P6 2 1 65535\n", frames).find("65535"), std::string::npos);
  EXPECT_NE(read_until_error("JFIF", frames).find("neither"), std::string::npos);
  EXPECT_NE(read_until_error("P6 32768 32768 255\n", frames).find("200 million"),
            std::string::npos);
  EXPECT_NE(read_until_error("YUV4MPEG2 W40000 H40000\nFRAME\n", frames).find("200 million"),
            std::string::npos);
  EXPECT_NE(read_until_error("P6 14000 14000 255\nabc", frames).find("3 of 588000000 bytes"),
            std::string::npos);
  EXPECT_EQ(read_until_error("", frames), "");
}

TEST(FrameReader, ReadsY4m) {
  // 2x2: black, white and two greys of equal chroma; then mid red.
  std::string bytes = "YUV4MPEG2 W2 H2 F25:1 C420jpeg\nFRAME\n";
  bytes += std::string("\x10\xeb\x7e\x7e\x80\x80", 6);
  std::FILE* file = stream_of(bytes);
  FrameReader reader(file, "stream");
  const std::optional<Image> image = reader.next();
  ASSERT_TRUE(image);
  EXPECT_EQ(image->at(0, 0)[0], 0);
  EXPECT_EQ(image->at(0, 1)[1], 255);
  EXPECT_EQ(image->at(1, 0)[0], 128);
  EXPECT_EQ(reader.rate(), (Ratio{25, 1}));
  EXPECT_FALSE(reader.aspect().has_value());
  EXPECT_EQ(image->at(1, 0)[0], image->at(1, 0)[2]);
  EXPECT_FALSE(reader.next());
  std::fclose(file);
  int frames = 0;
  EXPECT_NE(read_until_error("YUV4MPEG2 W2 H2 C444\n", frames).find("4:2:0"), std::string::npos);
  EXPECT_NE(read_until_error(bytes.substr(0, bytes.size() - 1), frames).find("middle of frame 0"),
            std::string::npos);
}

TEST(Pipe, RunsAChildAndSaysWhenThereIsNone) {
  const auto quiet = [](const std::string*) {};
  Pipe echo({"printf", "P6 1 1 255\\nabc"}, Pipe::Way::read, quiet);
  FrameReader reader(echo.file(), "printf");
  EXPECT_TRUE(reader.next());
  EXPECT_FALSE(reader.next());
  EXPECT_EQ(echo.finish(), 0);
  EXPECT_NE(
      usage_message([&] { Pipe({"no-such-program"}, Pipe::Way::read, quiet); }).find("apt-get"),
      std::string::npos);
  std::vector<std::string> said;
  Pipe noisy({"sh", "-c", "echo one >&2; printf two >&2; exit 3"}, Pipe::Way::read,
             [&](const std::string* line) { said.push_back(line == nullptr ? "end" : *line); });
  EXPECT_EQ(noisy.finish(), 3);
  EXPECT_EQ(said, (std::vector<std::string>{"one", "two", "end"}));
}

TEST(Ring, NewestWinsWhereAsked) {
  Ring<int> ring(2, true);
  for (int i = 0; i < 5; ++i) ring.push(i);
  EXPECT_EQ(ring.dropped(), 3);
  EXPECT_EQ(*ring.pop(), 3);
  EXPECT_EQ(*ring.pop(), 4);
  ring.close();
  EXPECT_FALSE(ring.pop());
  EXPECT_FALSE(ring.push(1));
}

}  // namespace
}  // namespace tapescope::detection
