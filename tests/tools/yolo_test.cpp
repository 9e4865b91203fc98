// YOLO's text files: every layout that is about, the figures by hand, and what is wrong by name.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>

#include "engine/philox.h"
#include "tests/tools/annotated_folder.h"
#include "tools/detection/coco_evaluation.h"
#include "tools/detection/detector.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

using Yolo = AnnotatedFolder;

TEST_F(Yolo, DataYamlWithSplitsInImages) {
  write("data.yaml",
        "# as Ultralytics writes it\npath: ../nowhere/here  # of another machine\n"
        "train: images/train\nval: images/val\ntest:  # none\n\n"
        "names:\n  0: traffic light\n  1: 'cat'\n");
  for (const char* name : {"train/a", "train/b", "val/c"}) {
    picture(std::string("images/") + name + ".png");
  }
  write("labels/train/a.txt", "1 0.5 0.5 0.2 0.4\r\n\r\n0 0.1 0.2 0.2 0.4 0.87\r\n");
  write("labels/val/c.txt", "");
  const DetectionData data = open();
  EXPECT_EQ(data.kind, "yolo");
  EXPECT_EQ(data.classes, (std::vector<std::string>{"traffic light", "cat"}));
  ASSERT_EQ(data.train.size(), 2u);
  EXPECT_EQ(data.validation.size(), 1u);
  EXPECT_EQ(data.train[0].width, 100);
  EXPECT_EQ(data.train[0].height, 50);
  ASSERT_EQ(data.train[0].objects.size(), 2u);
  expect_box(data.train[0].objects[0].box, 40, 15, 20, 20);
  EXPECT_EQ(data.train[0].objects[0].category, 1);
  EXPECT_EQ(data.train[0].objects[0].area, 400);
  expect_box(data.train[0].objects[1].box, 0, 0, 20, 20);
  EXPECT_TRUE(data.train[1].objects.empty());
  ASSERT_EQ(data.notices.size(), 1u) << joined(data.notices);
  EXPECT_NE(data.notices[0].find("1 pictures have no label file"), std::string::npos);
  // The same by the file itself, from elsewhere.
  write("elsewhere/set.yaml",
        "path: ..\ntrain: [images/train, images/val]\nnames: [a, b]\nnc: 2\n");
  const DetectionData same = open_detection_data(folder_ / "elsewhere/set.yaml");
  EXPECT_EQ(same.train.size(), 3u);
  EXPECT_EQ(same.train[0].objects[0].category, 1);
}

TEST_F(Yolo, RoboflowsFolders) {
  write("data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['cell']\n");
  picture("train/images/a.png");
  picture("valid/images/b.png");
  write("train/labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  write("valid/labels/b.txt", "0 0.25 0.5 0.5 1\n");
  const DetectionData data = open();
  ASSERT_EQ(data.validation.size(), 1u);
  expect_box(data.train.at(0).objects.at(0).box, 25, 12.5, 50, 25);
  expect_box(data.validation[0].objects.at(0).box, 0, 0, 50, 50);
  // Folders alone say the same.
  write("data.yaml", "names: [cell]\n");
  EXPECT_EQ(open().validation.at(0).objects.size(), 1u);
}

TEST_F(Yolo, ClassesTxtAndFlatFolders) {
  write("classes.txt", "cat\ndog\n\n");
  picture("images/a.png");
  write("labels/a.txt", "1 0.5 0.5 0.5 0.5\n");
  EXPECT_EQ(open().train.at(0).objects.at(0).category, 1);
  write("notes.json", "{\"categories\": []}");  // Label Studio's, no COCO file
  EXPECT_EQ(open().kind, "yolo");
  // Splits by the names of folders; what lies beside them is counted.
  picture("images/train/b.png");
  picture("images/val2017/c.png");
  write("labels/train/b.txt", "0 0.5 0.5 0.5 0.5\n");
  const DetectionData data = open();
  EXPECT_EQ(data.train.size(), 1u);
  EXPECT_EQ(data.validation.size(), 1u);
  const std::string notices = joined(data.notices);
  EXPECT_NE(notices.find("1 pictures lie beside train, val and test"), std::string::npos);
}

TEST_F(Yolo, DarknetsListsAndLabelsBesidePictures) {
  write("obj.names", "cat\ndog\n");
  picture("obj/a.png");
  picture("obj/with blank.png");
  write("obj/a.txt", "1 0.5 0.5 0.5 0.5\n");
  write("train.txt", "data/obj/a.png\n");
  write("valid.txt", "obj/with blank.png\n");
  const DetectionData data = open();
  EXPECT_EQ(data.train.at(0).objects.size(), 1u);
  EXPECT_EQ(data.validation.size(), 1u);
  write("train.txt", "obj/a.png\n\nobj/b.png\n");
  expect_complaint({"train.txt:3", "'obj/b.png'", "does not exist"});
}

TEST_F(Yolo, PolygonsBecomeBoxesUnlessTheyAreKeypoints) {
  write("data.yaml", "names: [cell]\n");
  picture("images/a.png");
  write("labels/a.txt", "0 0.1 0.2 0.5 0.1 0.3 0.9\n0 0.5 0.5 0.2 0.2 0.9 7 7\n");
  const DetectionData data = open();
  ASSERT_EQ(data.train.at(0).objects.size(), 2u);
  expect_box(data.train[0].objects[0].box, 10, 5, 40, 40);
  expect_box(data.train[0].objects[1].box, 40, 20, 20, 10);
  const std::string notices = joined(data.notices);
  EXPECT_NE(notices.find("1 polygons"), std::string::npos) << notices;
  EXPECT_NE(notices.find("1 lines have more numbers"), std::string::npos) << notices;
  write("data.yaml", "names: [cell]\nkpt_shape: [1, 2]\n");
  write("labels/a.txt", "0 0.5 0.5 0.2 0.2 0.1 0.9\n");
  expect_box(open().train.at(0).objects.at(0).box, 40, 20, 20, 10);
}

TEST_F(Yolo, WhatIsWrongWithBoxesIsCounted) {
  write("classes.txt", "cell\n");
  picture("images/a.png");
  write("labels/a.txt",
        "0 1.1 0.5 0.4 0.4\n"          // reaches out, with a number above 1
        "0 0.95 0.5 0.2 0.4\n"         // reaches out
        "0 0.5 0.5 0 0.4\n"            // no area
        "0 0.5 0.5 -0.2 0.4\n"         // inverted
        "0 0.9000004 0.5 0.2 0.4\n");  // what six digits leave of a box that ends at the border
  write("labels/b.txt", "0 0.5 0.5 0.2 0.2\n");
  const DetectionData data = open();
  ASSERT_EQ(data.train.at(0).objects.size(), 3u);
  expect_box(data.train[0].objects[0].box, 90, 15, 10, 20);
  expect_box(data.train[0].objects[1].box, 85, 15, 15, 20);
  EXPECT_EQ(data.train[0].objects[2].box.x + data.train[0].objects[2].box.w, 100);
  const std::string notices = joined(data.notices);
  for (const char* part : {"1 boxes have numbers outside of 0 to 1",
                           "1 boxes reach out of the picture", "1 boxes have no area",
                           "1 boxes are inverted", "1 label files have no picture", "a.txt:4"}) {
    EXPECT_NE(notices.find(part), std::string::npos) << "no '" << part << "' in " << notices;
  }
  EXPECT_EQ(data.notices.size(), 5u) << notices;
}

TEST_F(Yolo, WhatCannotBeUnderstoodIsNamed) {
  picture("images/a.png");
  write("labels/a.txt", "0 0.5 0.5 0.2 0.2\n");
  expect_complaint({"classes are called", "data.yaml"});
  write("classes.txt", "cell\n\ndog\n");
  expect_complaint({"classes.txt", "class 1 is empty"});
  write("classes.txt", "cell\ncell\n");
  expect_complaint({"a second 'cell'"});
  write("classes.txt", "\n");
  expect_complaint({"classes.txt", "names no class"});
  write("classes.txt", "cell\ndog\n");
  const std::pair<const char*, std::vector<std::string>> lines[] = {
      {"0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n", {"a.txt:2", "no class 2", "names 2"}},
      {"-1 0.5 0.5 0.2 0.2\n", {"a.txt:1", "no class -1"}},
      {"0.5 0.5 0.5 0.2 0.2\n", {"a.txt:1", "no class 0.5"}},
      {"cell 0.5 0.5 0.2 0.2\n", {"a.txt:1", "'cell' is no number"}},
      {"0 0.5 0.5 0.2\n", {"a.txt:1", "4 numbers"}},
      {"0 0.5 nan 0.2 0.2\n", {"a.txt:1", "'nan' is no number"}},
      {"0 0.5, 0.5, 0.2, 0.2\n", {"a.txt:1", "'0.5,' is no number"}},
      {"0 120 30 20 20\n", {"not one object", "shares of the picture"}},
      {"", {"not one object", "labels/a.txt"}}};
  for (const auto& [text, parts] : lines) {
    write("labels/a.txt", text);
    expect_complaint(parts);
  }
  write("labels/a.txt", "1 0.5 0.5 0.2 0.2\n");
  EXPECT_NE(usage_message([&] {
              open({.classes = {"cell"}});
            }).find("a.txt:1': the model does not know the class 'dog'"),
            std::string::npos);
  const std::pair<const char*, std::vector<std::string>> yamls[] = {
      {"names: [cell, dog\n", {"data.yaml", "cannot be understood"}},
      {"[1, 2]\n", {"data.yaml", "no map"}},
      {"names: 3\n", {"'names' is neither"}},
      {"names: {0: cell, 2: dog}\n", {"a class 2 but no class 1"}},
      {"names: {zero: cell}\n", {"data.yaml", "cannot be understood"}},
      {"names: [cell, dog]\nnc: 3\n", {"'nc' is 3"}},
      {"names: [cell, dog]\ntrain: pictures\n", {"'train' names 'pictures'", "leave it out"}}};
  for (const auto& [text, parts] : yamls) {
    write("data.yaml", text);
    expect_complaint(parts);
  }
  write("data.yaml", "names: [cell, dog]\n");
  write("images/b.webp", "RIFF....WEBP");
  expect_complaint({"b.webp", "WebP", "convert"});
  write("images/b.webp", "");
  expect_complaint({"b.webp", "empty"});
  EXPECT_NE(usage_message([&] { open_detection_data(folder_ / "none"); }).find("neither a folder"),
            std::string::npos);
}

TEST_F(Yolo, DamagedFilesAreErrorsOrReadAndNothingElse) {
  picture("images/a.png");
  const std::string yaml = "path: .\ntrain: [images]\nnc: 2\nnames: {0: 'cell', 1: \"dog\"}\n";
  const std::string labels = "0 0.5 0.5 0.2 0.2\n1 0.1 0.2 0.5 0.1 0.3 0.9\n";
  const std::string list = "images/a.png\n";
  PhiloxStream random(17);
  const auto damaged = [&](std::string text) {
    for (std::uint32_t i = 1 + random.below(3); i > 0; --i) {
      const std::size_t at = random.below(static_cast<std::uint32_t>(text.size()));
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, 1 + random.below(4));
          break;
        case 2:
          text.insert(at, std::string(1 + random.below(6000), "{[9-:"[random.below(5)]));
          break;
        default:
          text.insert(at, text.substr(0, at));
      }
      if (text.empty()) return text;
    }
    return text;
  };
  int read = 0, refused = 0;
  for (int i = 0; i < 600; ++i) {
    write("data.yaml", i % 3 == 0 ? damaged(yaml) : yaml);
    write("labels/a.txt", i % 3 == 1 ? damaged(labels) : labels);
    if (i % 3 == 2) {
      write("data.yaml", "train: train.txt\nnames: [cell, dog]\n");
      write("train.txt", damaged(list));
    }
    try {
      const DetectionData data = open();
      ++read;
      for (const AnnotatedImage& image : data.train) {
        for (const Object& o : image.objects) {
          ASSERT_TRUE(o.box.x >= 0 && o.box.w > 0 && o.box.x + o.box.w <= 100 + 1e-9);
          ASSERT_TRUE(o.box.y >= 0 && o.box.h > 0 && o.box.y + o.box.h <= 50 + 1e-9);
          ASSERT_LT(static_cast<std::size_t>(o.category), data.classes.size());
        }
      }
    } catch (const Error& error) {
      ++refused;
      ASSERT_EQ(error.blame(), Blame::usage) << error.what();
    }
  }
  EXPECT_GT(read, 30);
  EXPECT_GT(refused, 200);
}

TEST_F(Yolo, LinesTwiceCountOnce) {
  write("classes.txt", "cat\ndog\n");
  picture("images/a.png");
  write("labels/a.txt",
        "1 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.25 0.5\n"
        "1 0.5 0.5 0.5 0.5\n");
  const DetectionData data = open();
  EXPECT_EQ(data.train.at(0).objects.size(), 3u);
  expect_says(joined(data.notices), {"2 boxes are there twice", "a.txt:3"});
}

TEST_F(Yolo, ByteOrderMarksBlanksAndCapitals) {
  write("classes.txt", "\xEF\xBB\xBF cat \r\ndog\x1b[31m\n");
  picture("images/Train/a.PNG");
  picture("images/Train/b.Jpeg");
  picture("images/Val/c.png");
  write("labels/Train/a.txt",
        "\xEF\xBB\xBF"
        "0 0.5 0.5 0.5 0.5\n");
  write("labels/Train/b.TXT", "1 0.5 0.5 0.5 0.5\n");
  write("images/Train/._a.PNG", "a Mac's");
  const DetectionData data = open();
  EXPECT_EQ(data.classes, (Words{"cat", "dog\\x1b[31m"}));
  ASSERT_EQ(data.train.size(), 2u);
  EXPECT_EQ(data.train[0].objects.size(), 1u);
  EXPECT_EQ(data.train[1].objects.at(0).category, 1);
  EXPECT_EQ(data.validation.size(), 1u);
  clear();
  write("data.yaml", "\xEF\xBB\xBFnames: [' cat ', dog]\ntrain: images\n");
  picture("images/a.png");
  write("labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  EXPECT_EQ(open().classes, (Words{"cat", "dog"}));
}

TEST_F(Yolo, NamesStayInTheFolder) {
  picture("data/images/a.png");
  picture("elsewhere/images/b.png");
  write("data/labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  write("elsewhere/labels/b.txt", "0 0.5 0.5 0.5 0.5\n");
  write("secret.txt", "root:x:0:0:root\n");
  const fs::path data = folder_ / "data";
  const auto complain = [&](const Words& parts) {
    const std::string message = usage_message([&] { open_detection_data(data); });
    expect_says(message, parts);
    EXPECT_EQ(message.find("root:x"), std::string::npos) << message;
  };
  const auto opened = [&] { return open_detection_data(data, {.allow_outside = true}); };
  for (const std::string& name :
       {std::string("/etc/passwd"), std::string("../elsewhere/images"),
        (folder_ / "elsewhere/images").string(), std::string("images/../../secret.txt")}) {
    write("data/data.yaml", "names: [a]\ntrain: " + name + "\n");
    complain({"data.yaml", "'train' names '" + name + "'", "outside", "--allow-outside"});
  }
  write("data/data.yaml", "names: [a]\ntrain: [images, ../elsewhere/images]\n");
  EXPECT_EQ(opened().train.size(), 2u);
  // The folder that `path` names is the user's word.
  write("data/data.yaml", "names: [a]\npath: ../elsewhere\ntrain: images\n");
  EXPECT_EQ(names_of(open_detection_data(data).train), Words{"b.png"});
  // Lines of lists.
  write("data/data.yaml", "names: [a]\ntrain: train.txt\n");
  write("data/train.txt", "images/a.png\n../elsewhere/images/b.png\n");
  complain({"train.txt:2", "'../elsewhere/images/b.png'", "outside"});
  EXPECT_EQ(opened().train.size(), 2u);
  write("data/train.txt", "./images/../images/a.png\n" + (data / "images/a.png").string() + "\n");
  EXPECT_EQ(open_detection_data(data).train.size(), 2u) << "an absolute name beneath the folder";
  // What is no list is not quoted, wherever it lies.
  write("data/data.yaml", "names: [a]\ntrain: ../secret.txt\n");
  const std::string message = usage_message([&] { opened(); });
  expect_says(message, {"secret.txt:1", "no name of a picture"});
  EXPECT_EQ(message.find("root:x"), std::string::npos) << message;
}

TEST_F(Yolo, LinksAreFollowedToFilesAndNothingElse) {
  write("classes.txt", "cat\n");
  picture("images/a.png");
  write("labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  const TemporaryFolder other;
  write_png(other / "b.png", Image(50, 100, 3, 90));
  fs::create_symlink(other / "b.png", folder_ / "images/b.png");
  const DetectionData data = open();
  EXPECT_EQ(data.train.size(), 2u);
  expect_says(joined(data.notices), {"1 pictures are links", "b.png"});
  // None of these is a picture: they are passed over in folders, refused where they are named.
  fs::create_symlink("/dev/zero", folder_ / "images/zero.png");
  fs::create_symlink("self.png", folder_ / "images/self.png");
  ASSERT_EQ(::mkfifo((folder_ / "images/pipe.png").c_str(), 0600), 0);
  EXPECT_EQ(open().train.size(), 2u);
  for (const char* name : {"zero", "pipe"}) {
    write("train.txt", fmt::format("images/{}.png\n", name));
    expect_complaint({"train.txt:1", name, "neither a regular file"});
  }
  write("train.txt", "images/self.png\n");
  expect_complaint({"train.txt:1", "self.png", "does not exist"});
  write("train.txt", std::string(5000, 'x') + ".png\n");
  expect_complaint({"train.txt:1", "xxx", "does not exist"});
  write("train.txt", "images/a.png\n");
  ASSERT_EQ(::mkfifo((folder_ / "labels/pipe.txt").c_str(), 0600), 0);
  fs::remove(folder_ / "labels/a.txt");
  fs::create_symlink("pipe.txt", folder_ / "labels/a.txt");
  expect_complaint({"a.txt", "no regular file"});
  write("data.yaml", "names: [a]\ntrain: " + std::string(5000, 'y') + "\n");
  expect_complaint({"'train' names 'yyy", "(5000 bytes)"});
}

TEST_F(Yolo, SplitsGoByWholeWords) {
  write("classes.txt", "cat\n");
  for (const char* name : {"train2017/a", "carnival/b", "latest/c", "val2017/d", "TestSet/e"}) {
    picture(fmt::format("images/{}.png", name));
    write(fmt::format("labels/{}.txt", name), "0 0.5 0.5 0.5 0.5\n");
  }
  const DetectionData data = open();
  EXPECT_EQ(names_of(data.train), Words{"a.png"});
  EXPECT_EQ(names_of(data.validation), Words{"d.png"});
  EXPECT_EQ(names_of(data.test), Words{"e.png"});
  expect_says(joined(data.notices), {"2 pictures lie beside train, val and test"});
}

TEST_F(Yolo, BadPicturesAreLeftOutWhereItIsSaid) {
  write("classes.txt", "cat\n");
  pictures({"images/a.png", "images/b.png"});
  for (const char* name : {"a", "b", "c", "d"}) {
    write(fmt::format("labels/{}.txt", name), "0 0.5 0.5 0.5 0.5\n");
  }
  const std::vector<std::uint8_t> whole = get(folder_ / "images/a.png");
  put(folder_ / "images/c.png", std::span(whole.data(), whole.size() - 30));
  write("images/d.png", "no picture");
  expect_complaint({"d.png", "not a picture"});
  const DetectionData data = open({.on_bad_image = BadImage::skip});
  EXPECT_EQ(names_of(data.train), (Words{"a.png", "b.png"}));
  ASSERT_EQ(data.bad_images.size(), 2u);
  expect_says(joined(data.bad_images), {"c.png", "d.png"});
}

TEST_F(Yolo, WhatDetectWritesReadsBack) {
  SeenImage seen{"a.png", 50, 100, {}};
  const Box boxes[] = {{0, 0, 100, 50}, {12.345678, 3.21, 20.5, 30.25}, {97.25, 48.5, 2.75, 1.5}};
  for (const Box& box : boxes) seen.seen.push_back({box, 1, 0.123456789f, 0, 0});
  picture("images/a.png");
  write("labels/a.txt", to_yolo_text(seen));
  write("labels/classes.txt", "cat\ndog\n");
  const DetectionData data = open();
  EXPECT_TRUE(data.notices.empty()) << joined(data.notices);
  ASSERT_EQ(data.train.at(0).objects.size(), std::size(boxes));
  for (std::size_t i = 0; i < std::size(boxes); ++i) {
    const Object& object = data.train[0].objects[i];
    EXPECT_EQ(object.category, 1);
    // Half of the sixth digit of a centre and of half a side.
    EXPECT_NEAR(object.box.x, boxes[i].x, 1e-4);
    EXPECT_NEAR(object.box.y, boxes[i].y, 1e-4);
    EXPECT_NEAR(object.box.w, boxes[i].w, 1e-4);
    EXPECT_NEAR(object.box.h, boxes[i].h, 1e-4);
  }
}

// The AP of boxes that are exactly the annotated ones of `right`.
double ap_of(const DetectionData& data, const DetectionData& right) {
  std::vector<Truth> truths;
  std::vector<Detection> detections;
  std::vector<std::int64_t> images;
  for (std::size_t i = 0; i < data.train.size(); ++i) {
    const auto image = static_cast<std::int64_t>(i);
    images.push_back(image);
    for (const Object& o : data.train[i].objects) {
      truths.push_back({image, static_cast<std::int64_t>(truths.size()) + 1, o.category, o.box,
                        o.area, o.crowd, o.difficult});
    }
    for (const Object& o : right.train.at(i).objects) {
      detections.push_back({image, o.category, o.box, 0.9});
    }
  }
  return evaluate_coco(truths, detections, images, {0}).summary()[0];
}

TEST(YoloCases, LinesTwiceDoNotChangeTheAveragePrecision) {
  const fs::path once = shared_case("files/10_yolo/noexif_sq");
  const fs::path twice = shared_case("files/10_yolo/dup_sq");
  if (once.empty() || twice.empty()) GTEST_SKIP() << "no shared/cases/files/10_yolo";
  const DetectionData single = open_detection_data(once), doubled = open_detection_data(twice);
  ASSERT_EQ(single.train.size(), doubled.train.size());
  EXPECT_DOUBLE_EQ(ap_of(single, single), 1);
  EXPECT_DOUBLE_EQ(ap_of(doubled, single), 1);
  const std::string count = fmt::format("{} boxes are there twice", 2 * single.train.size());
  EXPECT_NE(fmt::format("{}", fmt::join(doubled.notices, "\n")).find(count), std::string::npos)
      << fmt::format("{}", fmt::join(doubled.notices, "\n"));
}

TEST(YoloCases, AreReadOrNamed) {
  for (const char* name : {"bom", "classestxtbom"}) {
    const fs::path place = shared_case(std::string("files/10_yolo/") + name);
    if (place.empty()) continue;
    const DetectionData data = open_detection_data(place);
    EXPECT_EQ(data.classes.at(0), "cat") << name;
    EXPECT_EQ(data.train.size(), 2u) << name;
  }
  const fs::path corrupt = shared_case("files/10_yolo/corrupt");
  if (!corrupt.empty()) {
    const DetectionData data =
        open_detection_data(corrupt, DetectionDataOptions{.on_bad_image = BadImage::skip});
    EXPECT_EQ(data.train.size(), 1u);
    EXPECT_EQ(data.bad_images.size(), 2u) << "of train and of val, which are one folder";
  }
  const fs::path hostile = shared_case("faults/yolo-etc-passwd");
  if (hostile.empty()) GTEST_SKIP() << "no shared/cases/faults";
  const std::string message = usage_message([&] { open_detection_data(hostile); });
  EXPECT_NE(message.find("'/etc/passwd'"), std::string::npos) << message;
  EXPECT_EQ(message.find("root"), std::string::npos) << message;
}

TEST(YoloOfVoc, RealBloodCellsAreTheSameObjects) {
  const fs::path archive = shared_data("bccd_voc.tar.gz");
  if (archive.empty()) GTEST_SKIP() << "no shared/data/bccd_voc.tar.gz";
  const TemporaryFolder folder;
  const std::string command =
      "tar xzf '" + archive.string() + "' -C '" + folder.path().string() + "'";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "tar failed";
  const DetectionData voc = open_detection_data(folder / "bccd");
  const fs::path yolo = folder / "yolo";
  const std::pair<const char*, const std::vector<AnnotatedImage>*> parts[] = {
      {"train", &voc.train}, {"val", &voc.validation}, {"test", &voc.test}};
  std::string yaml = "names:\n";
  for (const std::string& name : voc.classes) yaml += "- " + name + "\n";
  put(yolo / "data.yaml", yaml);
  for (const auto& [split, images] : parts) {
    fs::create_directories(yolo / "images" / split);
    for (const AnnotatedImage& image : *images) {
      const fs::path path = image.path;
      fs::create_symlink(path, yolo / "images" / split / path.filename());
      // As darknet's voc_label.py has it: the middle of the sides, over the size.
      std::string text;
      for (const Object& o : image.objects) {
        const double x0 = o.box.x, x1 = o.box.x + o.box.w, y0 = o.box.y, y1 = o.box.y + o.box.h;
        char line[100];
        std::snprintf(line, sizeof line, "%d %.6f %.6f %.6f %.6f\n", o.category,
                      (x0 + x1) / 2 / image.width, (y0 + y1) / 2 / image.height,
                      (x1 - x0) / image.width, (y1 - y0) / image.height);
        text += line;
      }
      put(yolo / "labels" / split / (path.stem().string() + ".txt"), text);
    }
  }
  const DetectionData data = open_detection_data(yolo);
  EXPECT_EQ(data.kind, "yolo");
  EXPECT_EQ(data.classes, voc.classes);
  ASSERT_EQ(data.notices.size(), 1u);
  EXPECT_NE(data.notices[0].find("328 pictures are links"), std::string::npos) << data.notices[0];
  const std::pair<const std::vector<AnnotatedImage>*, const std::vector<AnnotatedImage>*> both[] = {
      {&voc.train, &data.train}, {&voc.validation, &data.validation}, {&voc.test, &data.test}};
  int objects = 0;
  for (const auto& [expected, got] : both) {
    ASSERT_EQ(got->size(), expected->size());
    for (const AnnotatedImage& image : *expected) {
      const auto same = std::find_if(got->begin(), got->end(), [&](const AnnotatedImage& other) {
        return fs::path(other.path).filename() == fs::path(image.path).filename();
      });
      ASSERT_NE(same, got->end()) << image.path;
      EXPECT_EQ(same->height, image.height) << "read from the JPEG's header";
      EXPECT_EQ(same->width, image.width);
      ASSERT_EQ(same->objects.size(), image.objects.size()) << image.path;
      for (std::size_t i = 0; i < image.objects.size(); ++i, ++objects) {
        const Object &a = image.objects[i], &b = same->objects[i];
        ASSERT_EQ(a.category, b.category);
        const double worst = 1e-6 * image.width + 1e-9;  // of a side; of a size half of it
        ASSERT_NEAR(a.box.x, b.box.x, worst) << image.path;
        ASSERT_NEAR(a.box.y, b.box.y, worst) << image.path;
        ASSERT_NEAR(a.box.w, b.box.w, worst) << image.path;
        ASSERT_NEAR(a.box.h, b.box.h, worst) << image.path;
      }
    }
  }
  EXPECT_GT(objects, 4000);
}

TEST(ImageSizes, OfEveryFormatFromTheHeader) {
  for (const char* name : {"color.ppm", "color.png", "color.bmp", "alpha.png", "palette.png",
                           "grey16.png", "baseline.jpg", "progressive.jpg", "grey.pgm"}) {
    const fs::path path = fixture(std::string("images/") + name);
    const Image image = read_image(path);
    const ImageSize size = read_image_size(path);
    EXPECT_EQ(size.height, image.height) << name;
    EXPECT_EQ(size.width, image.width) << name;
  }
  // A camera's notes before the size: 60,000 bytes of APP1 after the JPEG's first two.
  const std::vector<std::uint8_t> jpeg = get(fixture("images/baseline.jpg"));
  std::vector<std::uint8_t> noted(jpeg.begin(), jpeg.begin() + 2);
  for (int i = 0; i < 3; ++i) {
    for (int byte : {0xff, 0xe1, 0xea, 0x62}) noted.push_back(static_cast<std::uint8_t>(byte));
    noted.insert(noted.end(), 60000, 7);
  }
  noted.insert(noted.end(), jpeg.begin() + 2, jpeg.end());
  const TemporaryFolder folder;
  put(folder / "noted.jpg", noted);
  EXPECT_EQ(read_image_size(folder / "noted.jpg").width,
            read_image(fixture("images/baseline.jpg")).width);
  put(folder / "text.jpg", std::string("this is no picture"));
  EXPECT_NE(usage_message([&] { read_image_size(folder / "text.jpg"); }).find("text.jpg"),
            std::string::npos);
  EXPECT_NE(usage_message([&] { read_image_size(folder / "none.jpg"); }).find("none.jpg"),
            std::string::npos);
  put(folder / "cut.jpg", std::span(jpeg.data(), 30));
  EXPECT_NE(usage_message([&] { read_image_size(folder / "cut.jpg"); }).find("cut off"),
            std::string::npos);
}

}  // namespace
}  // namespace tapescope::detection
