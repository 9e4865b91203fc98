// YOLO's text files: every layout that is about, the figures by hand, and what is wrong by name.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/annotated_folder.h"
#include "tools/detection/detector.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

class Yolo : public AnnotatedFolder {};

TEST_F(Yolo, ManyPicturesAreKnownByTheirHeads) {
  write("classes.txt", "cat\n");
  pictures({"images/a.png", "images/b.png"});
  for (const char* name : {"a", "b"}) {
    write(fmt::format("labels/{}.txt", name), "0 0.5 0.5 0.2 0.4\n");
  }
  DataOptions division{.validation_fraction = 0, .bytes_to_check = 100};
  const DetectionData many = open({.division = division});
  EXPECT_TRUE(many.record.heads);
  EXPECT_NE(joined(many.notices).find("2 pictures of 0.0 GiB are not checked beforehand"),
            std::string::npos)
      << joined(many.notices);
  EXPECT_FALSE(open({.on_bad_image = BadImage::skip, .division = division}).record.heads);
  division.bytes_to_check = 1 << 20;
  EXPECT_FALSE(open({.division = division}).record.heads);
}

TEST_F(Yolo, ValidationThatIsTrainIsCountedOnce) {
  write("data.yaml", "train: images\nval: images\nnames: [cat]\n");
  pictures({"images/a.png", "images/b.png"});
  write("labels/a.txt", "0 0.5 0.5 0.2 0.4\n0 0.9 0.5 0.4 0.4\n");
  write("labels/b.txt", "0 0.5 0.5 0.2 0.4\n");
  const DetectionData data = open();
  EXPECT_EQ(data.train.size(), 2u);
  EXPECT_EQ(data.validation.size(), 2u);
  EXPECT_NE(data.summary.find("2 training, 2 validation and 0 test pictures, 3 boxes"),
            std::string::npos)
      << data.summary;
  EXPECT_NE(joined(data.notices).find("1 boxes reach out of the picture"), std::string::npos)
      << joined(data.notices);
}

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
  write("images/b.webp", "GIF89a......");
  expect_complaint({"b.webp", "GIF", "convert"});
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
  int read = 0, refused = 0;
  for (int i = 0; i < 600; ++i) {
    write("data.yaml", i % 3 == 0 ? damaged(yaml, random) : yaml);
    write("labels/a.txt", i % 3 == 1 ? damaged(labels, random) : labels);
    if (i % 3 == 2) {
      write("data.yaml", "train: train.txt\nnames: [cell, dog]\n");
      write("train.txt", damaged(list, random));
    }
    try {
      const DetectionData data = open();
      ++read;
      expect_sound(data);
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
