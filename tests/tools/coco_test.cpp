// COCO's JSON as programs write it and people keep it.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/tools/annotated_folder.h"
#include "tools/detection/detection_losses.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/detector_file.h"
#include "tools/files/split_name.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

class Coco : public AnnotatedFolder {
 protected:
  static std::string image(const std::string& id, const std::string& name,
                           const std::string& more = R"(, "width": 100, "height": 50)") {
    return R"({"id": )" + id + R"(, "file_name": ")" + name + "\"" + more + "}";
  }
  static std::string annotation(const std::string& id, const std::string& image,
                                const std::string& category = "17",
                                const std::string& box = "[10, 20, 50, 20]",
                                const std::string& more = "") {
    return R"({"id": )" + id + R"(, "image_id": )" + image + R"(, "category_id": )" + category +
           R"(, "bbox": )" + box + more + "}";
  }
  static std::string category(const std::string& id, const std::string& name) {
    return R"({"id": )" + id + R"(, "name": )" + name + "}";
  }
  static std::string list(const Words& entries) {
    std::string text = "[";
    for (const std::string& entry : entries) text += (text.size() > 1 ? ", " : "") + entry;
    return text + "]";
  }
  static std::string file(const Words& images, const Words& annotations,
                          const Words& categories = {category("17", "\"dog\"")}) {
    return R"({"images": )" + list(images) + R"(, "annotations": )" + list(annotations) +
           R"(, "categories": )" + list(categories) + "}";
  }
  // Of one picture with one dog.
  static std::string one(const std::string& name) {
    return file({image("7", name)}, {annotation("1", "7")});
  }
};

TEST_F(Coco, IdsOfTheDataAreKept) {
  pictures({"images/a.jpg", "images/b.jpg", "images/c.jpg"});
  const Words categories = {category("3", "\"cat \""), category("17", "\"dog\""),
                            category("90", "\"unused\"")};
  write("train.json",
        file({image("900000000001", "a.jpg"), image("7.0", "b.jpg")},
             {annotation("1", "900000000001"), annotation("2", "7", "3")}, categories));
  write("val.json", file({image("\"x\\u00e9-1\"", "c.jpg")},
                         {annotation("\"n\"", "\"x\\u00e9-1\"", "17.0")}, categories));
  const DetectionData data = open();
  EXPECT_EQ(data.classes, (Words{"cat", "dog"}));
  EXPECT_EQ(data.category_ids, (Words{"3", "17"}));
  EXPECT_EQ(data.train.at(0).id, "900000000001");
  EXPECT_EQ(data.train.at(1).id, "7");
  EXPECT_EQ(data.validation.at(0).id, "\"x\xc3\xa9-1\"");
  EXPECT_EQ(data.validation[0].objects.size(), 1u);
  // In a model's order; a class that is not in the file has none.
  EXPECT_EQ(open({.classes = {"dog", "bird", "cat"}}).category_ids, (Words{"17", "", "3"}));
  // And in the model's file.
  DetectorConfig config;
  config.classes = {"dog", "bird", "cat"};
  config.category_ids = {"17", "", "\"c\""};
  EXPECT_NE(metadata_of(config).begin()->second.find(R"("category_ids":[17,null,"c"])"),
            std::string::npos)
      << metadata_of(config).begin()->second;
  config.category_ids.clear();
  EXPECT_EQ(metadata_of(config).begin()->second.find("category_ids"), std::string::npos);
}

TEST_F(Coco, TwoCategoriesOfOneNameAreOneClass) {
  picture("a.jpg");
  write("train.json", file({image("1", "a.jpg")}, {annotation("1", "1", "1")},
                           {category("0", "\"raccoon\""), category("1", "\"raccoon\"")}));
  EXPECT_EQ(open().classes, Words{"raccoon"});
  EXPECT_EQ(open().category_ids, Words{"1"}) << "the one that has annotations";
}

TEST_F(Coco, WhatIsWrongIsNamed) {
  pictures({"a.jpg", "b.jpg"});
  const Words images = {image("7", "a.jpg"), image("8", "b.jpg")};
  const Words ones = {annotation("4", "7")};
  const auto with = [&](const std::string& a) { return file(images, {annotation("1", "8"), a}); };
  const std::pair<std::string, Words> cases[] = {
      {with(annotation("4", "7", "17", "[]")),
       {"annotation 4 of image 7 ('a.jpg')", "[]", "'bbox'"}},
      {with(annotation("4", "7", "17", "[1, 2, 3]")), {"annotation 4", "[1,2,3]", "four numbers"}},
      {with(annotation("4", "7", "17", "[1, 2, \"3\", 4]")), {"annotation 4", "four numbers"}},
      {with(annotation("4", "7", "17", "[NaN, 2, 3, 4]")), {"annotation 4 of image 7", "null"}},
      {with(annotation("4", "7", "17", "[1, 2, -Infinity, 4]")), {"annotation 4", "a.jpg"}},
      {with(annotation("4", "7", "17", "[1, 2, 1e300, 4]")), {"annotation 4", "1e+300"}},
      {with(R"({"id": 4, "image_id": 7, "category_id": 17})"),
       {"annotation 4", "nothing", "'bbox'"}},
      {with(R"({"image_id": 7, "category_id": 17})"), {"annotation 2 of the list", "nothing"}},
      {with(annotation("4", "9")), {"annotation 4", "image 9", "not in the file"}},
      {with(annotation("4", "7", "18")), {"annotation 4", "category 18", "not in the file"}},
      {with(annotation("4", "7.5")), {"annotation 4", "7.5", "'image_id'"}},
      {with(annotation("4", "7", "null")), {"annotation 4", "nothing", "'category_id'"}},
      {with(annotation("4", "7", "17", "[1, 2, 3, 4]", ", \"iscrowd\": \"no\"")),
       {"annotation 4", "iscrowd"}},
      {file({image("7", "a.jpg", ", \"width\": 100, \"height\": 1e300")}, ones),
       {"image 7 ('a.jpg')", "height", "1e+300"}},
      {file({image("7", "a.jpg", ", \"width\": 100, \"height\": -29")}, ones), {"image 7", "-29"}},
      {file({image("7", "a.jpg", ", \"width\": 4294967329, \"height\": 50")}, ones),
       {"image 7", "width", "4294967329"}},
      {file({image("7", "a.jpg", ", \"width\": 2147483648, \"height\": 50")}, ones), {"image 7"}},
      {file({image("7", "a.jpg", ", \"width\": \"wide\", \"height\": 50")}, ones), {"\"wide\""}},
      {file({image("7", "a.jpg", ", \"width\": 99.5, \"height\": 50")}, ones), {"99.5"}},
      {file({image("7", "a.jpg", ", \"width\": 99, \"height\": 50")}, ones), {"is 100x50, but"}},
      {file({R"({"id": 7})"}, {}), {"image 7", "'file_name'"}},
      {file({image("7", "a.jpg"), image("7", "b.jpg")}, {}), {"two images with the id 7"}},
      {file({image("7", "a.jpg"), image("8", "a.jpg")}, {}),
       {"a.jpg' is annotated twice", "7", "8"}},
      {file({"3"}, {}), {"image 1 of the list"}},
      {file(images, ones, {category("17", "\"dog\""), category("17", "\"cat\"")}),
       {"two categories with the id 17", "'dog'", "'cat'"}},
      {file(images, ones, {category("1.5", "\"dog\"")}), {"category 1", "1.5", "'id'"}},
      {file(images, ones, {category("17", "\" \"")}), {"category 1", "17", "name"}},
      {file(images, ones, {category("17", "5")}), {"category 1", "5", "name"}},
      {R"({"images": [], "categories": 3})", {"no list 'categories'"}},
      {R"({"images": []})", {"no list 'categories'"}},
      {"{\"images\": [\n], ]", {"no JSON from line 2"}},
      {R"({"images": [1e999]})", {"beyond 1e308"}},
  };
  for (const auto& [text, parts] : cases) {
    SCOPED_TRACE(text);
    write("train.json", text);
    expect_complaint({"train.json"});
    expect_complaint(parts);
  }
}

// An error shows the value that is wrong, which would overflow the stack.
TEST_F(Coco, BracketsAloneAreRefusedWhereverTheyStand) {
  pictures({"a.jpg"});
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  for (const std::string& text :
       {deep, file({R"({"id": )" + deep + R"(, "file_name": "a.jpg"})"}, {}),
        file({R"({"id": 7, "file_name": )" + deep + "}"}, {}),
        file({image("7", "a.jpg", ", \"width\": " + deep)}, {}),
        file({image("7", "a.jpg")}, {annotation("4", deep)}),
        file({image("7", "a.jpg")}, {annotation("4", "7", "17", deep)}),
        file({image("7", "a.jpg")},
             {annotation("4", "7", "17", "[1, 2, 3, NaN]", ", \"iscrowd\": " + deep)}),
        file({image("7", "a.jpg")}, {}, {category("17", deep)})}) {
    write("train.json", text);
    expect_complaint({"train.json", "more than 100 levels"});
  }
}

TEST_F(Coco, SizesAndIdsThatAreMissing) {
  pictures({"a.jpg", "b.jpg"});
  write("train.json",
        file({image("\"a\"", "a.jpg", ""), image("2", "b.jpg", ", \"width\": 0, \"height\": null")},
             {R"({"image_id": "a", "category_id": 17, "bbox": [10, 20, 50, 20]})"}));
  const DetectionData data = open();
  EXPECT_EQ(data.train.at(0).width, 100);
  EXPECT_EQ(data.train[0].objects.size(), 1u);
  expect_says(joined(data.notices), {"2 annotations say no size"});
}

TEST_F(Coco, WhatIsDroppedIsCounted) {
  picture("a.jpg");
  write(
      "train.json",
      file({image("7", "a.jpg")},
           {annotation("1", "7"), annotation("2", "7"), annotation("3", "7", "17", "[1, 2, 0, 5]"),
            annotation("4", "7", "17", "[1, 2, -3, 5]"), annotation("5", "7", "17", "[1, 2, 3, 5]"),
            annotation("6", "7", "17", "[10, 20, 50, 20]", R"(, "iscrowd": true)")}));
  const DetectionData data = open();
  EXPECT_EQ(data.train.at(0).objects.size(), 3u);
  EXPECT_TRUE(data.train[0].objects.back().crowd);
  expect_says(joined(data.notices),
              {"1 boxes are there twice", "1 boxes have no area", "1 boxes are inverted"});
  expect_says(data.summary, {"2 boxes and 1 regions of crowds"});
}

TEST_F(Coco, EveryLayout) {
  struct Case {
    const char* what;
    Words pictures;
    std::vector<std::pair<const char*, const char*>> files;  // and the picture that each annotates
    std::size_t train, validation, test;
    Words notices;
  };
  const Case cases[] = {
      {"COCO's own download",
       {"train2017/a.jpg", "val2017/a.jpg"},
       {{"annotations/instances_train2017.json", "a.jpg"},
        {"annotations/instances_val2017.json", "a.jpg"},
        {"annotations/person_keypoints_train2017.json", "a.jpg"},
        {"annotations/person_keypoints_val2017.json", "a.jpg"},
        {"annotations/captions_train2017.json", "broken"},
        {"annotations/panoptic_val2017.json", "broken"},
        {"annotations/image_info_test2017.json", "broken"}},
       1,
       1,
       0,
       {"left out", "captions_train2017.json", "panoptic_val2017.json", "image_info_test2017.json",
        "person_keypoints_train2017.json"}},
      {"keypoints alone",
       {"train2017/a.jpg"},
       {{"annotations/person_keypoints_train2017.json", "a.jpg"}},
       1,
       0,
       0,
       {}},
      {"Roboflow",
       {"train/a.jpg", "valid/a.jpg", "test/a.jpg"},
       {{"train/_annotations.coco.json", "a.jpg"},
        {"valid/_annotations.coco.json", "a.jpg"},
        {"test/_annotations.coco.json", "a.jpg"}},
       1,
       1,
       1,
       {}},
      {"CVAT, YOLOv6",
       {"images/train/a.jpg", "images/Validation/a.jpg"},
       {{"annotations/instances_train.json", "a.jpg"},
        {"annotations/instances_Validation.json", "a.jpg"}},
       1,
       1,
       0,
       {}},
      {"CVAT's default",
       {"images/default/a.jpg"},
       {{"annotations/instances_default.json", "a.jpg"}},
       1,
       0,
       0,
       {}},
      {"one file beside pictures", {"a.JPG"}, {{"labels.json", "a.jpg"}}, 1, 0, 0, {}},
      {"a Windows program's names", {"images/a.jpg"}, {{"x.json", "images\\\\a.jpg"}}, 1, 0, 0, {}},
      {"FiftyOne", {"data/a.jpg"}, {{"labels.json", "a.jpg"}}, 1, 0, 0, {}},
      {"carnival", {"images/a.jpg"}, {{"annotations/carnival_train.json", "a.jpg"}}, 1, 0, 0, {}},
      {"carnival alone", {"images/a.jpg"}, {{"annotations/carnival.json", "a.jpg"}}, 1, 0, 0, {}},
      {"latest", {"images/a.jpg"}, {{"latest.json", "a.jpg"}}, 1, 0, 0, {}},
      {"camels",
       {"a.jpg", "b.jpg"},
       {{"myTrainSet.json", "a.jpg"}, {"retrievalVal1.json", "b.jpg"}},
       1,
       1,
       0,
       {}},
      {"trainval", {"a.jpg"}, {{"instances_trainval2014.json", "a.jpg"}}, 1, 0, 0, {}},
      {"splits in images, JSON inside",
       {"train/images/a.jpg", "val/images/a.jpg"},
       {{"train/annotations/x.json", "a.jpg"}, {"val/annotations/x.json", "a.jpg"}},
       1,
       1,
       0,
       {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    clear();
    pictures(c.pictures);
    for (const auto& [path, name] : c.files) {
      write(path, name == std::string("broken") ? "{" : one(name));
    }
    const DetectionData data = open();
    EXPECT_EQ(data.kind, "coco");
    EXPECT_EQ(data.train.size(), c.train);
    EXPECT_EQ(data.validation.size(), c.validation);
    EXPECT_EQ(data.test.size(), c.test);
    for (const AnnotatedImage& image : data.validation) {
      const std::string inside = fs::path(image.path).lexically_relative(folder_.path());
      EXPECT_TRUE(inside == "b.jpg" || inside.find("al") != std::string::npos) << inside;
    }
    EXPECT_EQ(data.notices.size(), c.notices.empty() ? 0u : 1u) << joined(data.notices);
    expect_says(joined(data.notices), c.notices);
    expect_says(data.summary, {"COCO", fmt::format("{} training", c.train)});
  }
}

TEST_F(Coco, TwoFilesOfOnePictureAreAnError) {
  picture("a.jpg");
  write("annotations/first_train.json", one("a.jpg"));
  write("annotations/second_train.json", one("a.jpg"));
  expect_complaint({"a.jpg' is annotated twice", "first_train.json", "second_train.json"});
  write("annotations/second_train.json", "[1, 2]");  // of some other program
  EXPECT_EQ(open().train.size(), 1u);
  expect_says(joined(open().notices), {"1 JSON files are not of COCO's form"});
}

TEST_F(Coco, NamesStayInTheFolder) {
  picture("data/images/a.jpg");
  picture("secret/b.jpg");
  const auto complain = [&](const std::string& name, const Words& parts) {
    write("data/train.json", one(name));
    const std::string message = usage_message([&] { open_detection_data(folder_ / "data"); });
    expect_says(message, parts);
  };
  complain("../secret/b.jpg", {"train.json", "'../secret/b.jpg'", "outside", "--allow-outside"});
  const DetectionDataOptions outside = {.allow_outside = true};
  EXPECT_EQ(open_detection_data(folder_ / "data", outside).train.size(), 1u);
  complain((folder_ / "secret/b.jpg").string(), {"outside"});
  complain("..\\\\..\\\\secret\\\\b.jpg", {"outside"});
  complain("/dev/zero", {"'/dev/zero'", "outside"});
  complain("images/../../secret/b.jpg", {"outside"});
  complain("c.jpg", {"names the picture 'c.jpg', which is not in"});
  complain(std::string(5000, 'x') + ".jpg", {"names the picture 'xxx", "(5004 bytes)"});
  complain("images", {"names the picture 'images'"});
  complain("a\\u0000b.jpg", {"names the picture 'a\\x00b.jpg'"});
  write("data/train.json", one("../images/a.jpg"));  // from annotations/ it would be inside
  fs::create_directories(folder_ / "data/annotations");
  fs::rename(folder_ / "data/train.json", folder_ / "data/annotations/train.json");
  EXPECT_EQ(open_detection_data(folder_ / "data").train.size(), 1u);
}

TEST_F(Coco, DamagedFilesAreErrorsOrReadAndNothingElse) {
  pictures({"a.jpg", "b.jpg"});
  const int read = read_damaged(
      "train.json",
      file({image("7", "a.jpg"), image("\"x\"", "b.jpg")},
           {annotation("1", "7"), annotation("2", "\"x\"", "17", "[1.5, 2, 30, 4e1]")}),
      500);
  EXPECT_GT(read, 5);
  EXPECT_LT(read, 400);
}

class CocoCase : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(CocoCase, IsReadOrNamed) {
  const auto [name, complaint] = GetParam();
  const fs::path place = shared_case(name);
  if (place.empty()) GTEST_SKIP() << "no shared/cases/" << name;
  if (complaint[0] != 0) {
    const std::string message = usage_message([&, &where = place] { open_detection_data(where); });
    EXPECT_NE(message.find(complaint), std::string::npos) << message;
    return;
  }
  const DetectionData data = open_detection_data(place);
  EXPECT_EQ(data.train.size(), 2u);
  EXPECT_EQ(data.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(data.train.at(0).objects.size(), 1u);
  EXPECT_EQ(data.train.at(1).objects.size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(
    Shared, CocoCase,
    ::testing::Values(std::pair{"files/09_coco/withcaptions", ""},
                      std::pair{"files/09_coco/withkp", ""},
                      std::pair{"files/09_coco/roboflow", ""}, std::pair{"files/09_coco/cvat", ""},
                      std::pair{"files/09_coco/carnival", ""},
                      std::pair{"files/09_coco/latest", ""}, std::pair{"files/09_coco/strid", ""},
                      std::pair{"files/09_coco/nosize", ""},
                      std::pair{"files/09_coco/emptybb", "annotation 1 of image 7 ('a.jpg')"},
                      std::pair{"files/09_coco/nobbox", "annotation "},
                      std::pair{"faults/coco-dotdot", "'../out_of_tree/secret.jpg'"},
                      std::pair{"faults/coco-height-1e300", "1e+300"}));

TEST(SplitNames, WordByWord) {
  const std::pair<const char*, Split> cases[] = {
      {"train2017", Split::train},       {"instances_val2017", Split::validation},
      {"TestSet", Split::test},          {"carnival", Split::none},
      {"latest", Split::none},           {"interval_3", Split::none},
      {"retrieval", Split::none},        {"my-valid", Split::validation},
      {"TRAIN", Split::train},           {"Training", Split::train},
      {"Testing", Split::test},          {"trainval", Split::trainval},
      {"train_val", Split::trainval},    {"test_project_train", Split::train},
      {"strain", Split::none},           {"dev", Split::validation},
      {"contestTest", Split::test},      {"", Split::none},
      {"minival2014", Split::validation}};
  for (const auto& [name, split] : cases) EXPECT_EQ(split_in(name), split) << name;
  EXPECT_EQ(words_in("instances_trainSet2017"),
            (std::vector<std::string>{"instances", "train", "set"}));
}

// --- crowds --------------------------------------------------------------------------------------
TEST(Crowds, CellsInsideCostNothingWhateverIsFound) {
  constexpr int kSize = 32, kCells = 8, kClasses = 2;
  const std::vector<Object> objects = {{{8, 8, 16, 16}, 1, false, true, 256},
                                       {{12, 12, 8, 8}, 1, false, false, 64}};
  std::vector<float> heat(kCells * kCells * kClasses), sides(kCells * kCells * 4),
      weight(kCells * kCells);
  draw_targets(objects, kSize, kSize, kClasses, heat.data(), sides.data(), weight.data());
  const auto at = [&](int y, int x, int k) {
    return heat[static_cast<std::size_t>((y * kCells + x) * kClasses + k)];
  };
  int inside = 0;
  for (int y = 0; y < kCells; ++y) {
    for (int x = 0; x < kCells; ++x) {
      const bool in = y >= 2 && y < 6 && x >= 2 && x < 6;  // of 4 pixels each
      inside += in ? 1 : 0;
      EXPECT_EQ(at(y, x, 0), 0) << "another class is background there";
      if (y == 4 && x == 4) {
        EXPECT_EQ(at(y, x, 1), 1) << "the object inside is still an object";
      } else {
        EXPECT_EQ(at(y, x, 1), in ? kNoLoss : 0.0f) << y << ' ' << x;
      }
    }
  }
  EXPECT_EQ(inside, 16);
  EXPECT_LT(kNoLoss, 1.0f);
  EXPECT_EQ(std::nextafter(kNoLoss, 2.0f), 1.0f);
  // The loss and its slope do not see what is answered there; elsewhere they do.
  const auto loss_of = [&](float answer, int y, int x) {
    Tape tape(Device::cpu(), Mode::evaluation);
    Tensor logits({DType::f32, {1, kCells, kCells, kClasses}}), truth(logits.type());
    for (std::size_t i = 0; i < heat.size(); ++i) {
      logits.values<float>()[i] = -2;
      truth.values<float>()[i] = heat[i];
    }
    logits.values<float>()[static_cast<std::size_t>((y * kCells + x) * kClasses + 1)] = answer;
    const Var input = tape.input("logits", logits);
    const Var loss = sum(penalty_reduced_focal_loss(input, tape.input("heat", truth)));
    const Var slope = tape.gradient(loss, {input})[0];
    return std::pair{loss.value().item(), slope.value().item((y * kCells + x) * kClasses + 1)};
  };
  const auto calm = loss_of(-20, 2, 2), wild = loss_of(8, 2, 2);
  EXPECT_NEAR(calm.first, wild.first, 1e-6);
  EXPECT_LT(std::abs(wild.second), 1e-20);
  EXPECT_GT(loss_of(8, 0, 0).first, calm.first + 1);
  EXPECT_GT(std::abs(loss_of(8, 0, 0).second), 0.5);
}

TEST(Crowds, APartOfOneStaysWhereAnObjectGoes) {
  std::vector<Object> objects = {{{0, 0, 100, 100}, 0, false, true, 10000},
                                 {{0, 0, 100, 100}, 0, false, false, 10000},
                                 {{0, 0, 10, 10}, 0, false, true, 100}};
  cut(objects, {90, 90, 50, 50});
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_TRUE(objects[0].crowd);
  EXPECT_EQ(objects[0].box, (Box{90, 90, 10, 10}));
}

}  // namespace
}  // namespace tapescope::detection
