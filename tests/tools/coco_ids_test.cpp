// Results carry the data's own ids, whatever the order of the pictures.
#include "tools/detection/coco_ids.h"

#include <gtest/gtest.h>

#include "tests/tools/temporary_folder.h"

namespace tapescope::detection {
namespace {

class CocoResultIds : public ::testing::Test {
 protected:
  void SetUp() override {
    put(folder_ / "annotations/instances_train.json",
        std::string(R"({"images": [{"id": 397133, "file_name": "a.jpg"},
                                   {"id": 5, "file_name": "b.jpg"}],
                        "categories": [{"id": 90, "name": "cat "}, {"id": 3, "name": "dog"}],
                        "annotations": []})"));
    put(folder_ / "annotations/instances_val.json",
        std::string(R"({"images": [{"id": 6, "file_name": "b.jpg"},
                                   {"id": "seven", "file_name": "deep/c.jpg"}],
                        "categories": [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}],
                        "annotations": []})"));
    put(folder_ / "annotations/captions_val.json",
        std::string(R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []})"));
    put(folder_ / "annotations/notes.json", std::string("[1, 2"));
    for (const char* name : {"train/a.jpg", "train/b.jpg", "val/b.jpg", "val/deep/c.jpg"}) {
      put(folder_ / name, std::string("x"));
    }
  }
  std::string at(const std::string& name) const { return folder_ / name; }
  TemporaryFolder folder_;
};

TEST_F(CocoResultIds, IdsAreTheDatas) {
  CocoIds ids(folder_.path(), {"dog", "cat"});
  EXPECT_EQ(ids.category(0), "3");
  EXPECT_EQ(ids.category(1), "90");
  EXPECT_EQ(ids.image(at("val/b.jpg")), "6");
  EXPECT_EQ(ids.image(at("train/b.jpg")), "5");
  EXPECT_EQ(ids.image(at("train/a.jpg")), "397133");
  EXPECT_EQ(ids.image(at("val/deep/../deep/c.jpg")), "\"seven\"");
  EXPECT_NE(usage_message([&] { ids.image(at("train/d.jpg")); }).find("d.jpg"), std::string::npos);
  EXPECT_NE(usage_message([&] { CocoIds(folder_.path(), {"bird"}); }).find("'bird'"),
            std::string::npos);
  EXPECT_NE(usage_message([&] { CocoIds(folder_ / "train", {}); }).find("no COCO file"),
            std::string::npos);
}

// As the data themselves are read (annotations.h).
TEST_F(CocoResultIds, FilesAreReadAsWhenTheyAreTrainedOn) {
  put(folder_ / "robo/_annotations.coco.json",
      std::string(R"({"images": [{"id": 7.0, "file_name": "a.jpg", "score": NaN}],
                      "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "cat"}],
                      "annotations": [{"id": 1, "image_id": 7.0, "category_id": 1}]})"));
  put(folder_ / "robo/a.jpg", std::string("x"));
  CocoIds ids(folder_ / "robo", {"cat"});
  EXPECT_EQ(ids.category(0), "1");
  EXPECT_EQ(ids.image(at("robo/a.jpg")), "7");
  put(folder_ / "robo/utf16.json", std::string("\xFF\xFE{\0}\0", 6));
  EXPECT_NE(usage_message([&] { CocoIds(folder_ / "robo/utf16.json", {}); }).find("UTF-8"),
            std::string::npos);
  // What is named as the data and cannot be read says why.
  put(folder_ / "robo/broken.json", std::string("{\n\"images\": [\n"));
  EXPECT_NE(usage_message([&] { CocoIds(folder_ / "robo/broken.json", {}); }).find("line 3"),
            std::string::npos);
}

TEST_F(CocoResultIds, IdsWithoutDataCountFromOne) {
  CocoIds ids;
  EXPECT_EQ(ids.category(1), "2");
  EXPECT_EQ(ids.image("x.png"), "1");
  EXPECT_EQ(ids.image("y.png"), "2");
  EXPECT_EQ(ids.image("x.png"), "1");
}

TEST_F(CocoResultIds, APictureThatMayBeTwoIsRefused) {
  put(folder_ / "more/b.jpg", std::string("x"));
  CocoIds ids(folder_.path(), {});
  EXPECT_NE(usage_message([&] { ids.image(at("more/b.jpg")); }).find("several images"),
            std::string::npos);
}

TEST_F(CocoResultIds, BracketsAloneAreNobodysIds) {
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  put(folder_ / "annotations/instances_test.json",
      R"({"images": [{"id": )" + deep + R"(, "file_name": "z.jpg"}], "categories": []})");
  CocoIds ids(folder_.path(), {"cat"});
  EXPECT_EQ(ids.image(at("train/a.jpg")), "397133");
}

}  // namespace
}  // namespace tapescope::detection
