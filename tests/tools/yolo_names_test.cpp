// YOLO's data as people keep it: names that lead elsewhere, links, lines twice, broken pictures.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/tools/annotated_folder.h"
#include "tools/detection/coco_evaluation.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

class YoloNames : public AnnotatedFolder {};

TEST_F(YoloNames, NamesStayInTheFolder) {
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

TEST_F(YoloNames, LinksAreFollowedToFilesAndNothingElse) {
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

TEST_F(YoloNames, WhatLiesDeeperIsNamed) {
  write("cells/data.yaml", "names: [cell]\n");
  picture("cells/images/a.png");
  write("cells/labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  expect_complaint({"holds no annotated pictures", "cells' (YOLO)", "name that folder"});
}

TEST_F(YoloNames, SplitsGoByWholeWords) {
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

TEST_F(YoloNames, BadPicturesAreLeftOutWhereItIsSaid) {
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
  const std::string count = fmt::format("\n{} boxes are there twice", single.train.size());
  EXPECT_NE(fmt::format("\n{}", fmt::join(doubled.notices, "\n")).find(count), std::string::npos)
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

}  // namespace
}  // namespace tapescope::detection
