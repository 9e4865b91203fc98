// EXIF orientation: what is turned, what is not, and what is said of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/tools/temporary_folder.h"
#include "tools/data/dataset.h"
#include "tools/data/image.h"
#include "tools/detection/annotations.h"
#include "tools/detection/detector_file.h"
#include "tools/report/png.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"

namespace tapescope {
namespace {

using Bytes = std::vector<std::uint8_t>;

// A JPEG with the orientation put in as cameras do; the file stays as it is otherwise.
Bytes with_orientation(const Bytes& jpeg, int orientation) {
  const Bytes segment = {0xff,
                         0xe1,
                         0,
                         34,
                         'E',
                         'x',
                         'i',
                         'f',
                         0,
                         0,
                         'I',
                         'I',
                         42,
                         0,
                         8,
                         0,
                         0,
                         0,
                         1,
                         0,
                         0x12,
                         1,
                         3,
                         0,
                         1,
                         0,
                         0,
                         0,
                         static_cast<std::uint8_t>(orientation),
                         0,
                         0,
                         0,
                         0,
                         0,
                         0,
                         0};
  Bytes bytes(jpeg.begin(), jpeg.begin() + 2);
  bytes.insert(bytes.end(), segment.begin(), segment.end());
  bytes.insert(bytes.end(), jpeg.begin() + 2, jpeg.end());
  return bytes;
}

Bytes baseline() { return get(fixture("images/baseline.jpg")); }  // 40 wide, 32 high

double mean_difference(const Image& a, const Image& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  }
  return sum / static_cast<double>(a.pixels.size());
}

bool any_says(const std::vector<std::string>& notices, const std::string& part) {
  return std::any_of(notices.begin(), notices.end(), [&](const std::string& notice) {
    return notice.find(part) != std::string::npos;
  });
}

// By EXIF's table: where the stored picture's first row and first column are seen.
TEST(Exif, TheEightOrientations) {
  const Image stored = decode_image(baseline(), "x");
  const int bottom = stored.height - 1, right = stored.width - 1;
  struct Corner {
    int y, x;
  };
  // Where the visible picture's upper left and upper right corners are stored.
  const Corner left_corner[] = {{0, 0}, {0, right},  {bottom, right}, {bottom, 0},
                                {0, 0}, {bottom, 0}, {bottom, right}, {0, right}};
  const Corner right_corner[] = {{0, right},  {0, 0}, {bottom, 0}, {bottom, right},
                                 {bottom, 0}, {0, 0}, {0, right},  {bottom, right}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Bytes file = with_orientation(baseline(), orientation);
    EXPECT_EQ(image_orientation(file), orientation);
    const Image seen = decode_image(file, "x");
    const bool lying = orientation >= 5;
    ASSERT_EQ(seen.width, lying ? stored.height : stored.width);
    ASSERT_EQ(seen.height, lying ? stored.width : stored.height);
    const Corner& l = left_corner[orientation - 1];
    const Corner& r = right_corner[orientation - 1];
    for (int c = 0; c < 3; ++c) {
      EXPECT_EQ(seen.at(0, 0)[c], stored.at(l.y, l.x)[c]) << orientation;
      EXPECT_EQ(seen.at(0, seen.width - 1)[c], stored.at(r.y, r.x)[c]) << orientation;
    }
    EXPECT_EQ(decode_image(file, "x", 3, Exif::ignore).pixels, stored.pixels);
  }
}

TEST(Exif, BrokenMetadataSayNothing) {
  Bytes file = with_orientation(baseline(), 6);
  for (std::size_t i = 4; i < 36; ++i) {
    for (int value : {0, 1, 0x7f, 0xff}) {
      Bytes changed = file;
      changed[i] = static_cast<std::uint8_t>(value);
      const int orientation = image_orientation(changed);
      EXPECT_TRUE(orientation >= 1 && orientation <= 8);
    }
  }
  EXPECT_EQ(image_orientation(with_orientation(baseline(), 0)), 1);
  EXPECT_EQ(image_orientation(with_orientation(baseline(), 9)), 1);
}

TEST(Exif, FoldersCountTurnedPictures) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) {
    for (int i = 0; i < 4; ++i) {
      put(folder / fmt::format("{}/{}.jpg", name, i), with_orientation(baseline(), 1 + i * 2));
    }
  }
  const DataSplits turned = open_data(folder.path(), {.validation_fraction = 0});
  EXPECT_TRUE(any_says(turned.notices, "6 pictures have an EXIF orientation, which is applied"));
  EXPECT_EQ(turned.train->image(2).width, 32);
  const DataSplits stored =
      open_data(folder.path(), {.validation_fraction = 0, .exif = Exif::ignore});
  EXPECT_TRUE(
      any_says(stored.notices, "6 pictures have an EXIF orientation, which is not applied"));
  EXPECT_EQ(stored.train->image(2).width, 40);
}

TEST(Exif, ModelFilesSayHowPicturesAreRead) {
  ModelInfo info;
  info.pipeline = Pipeline({ToTensor{}});
  info.exif = Exif::apply;
  EXPECT_NE(metadata_of(info).at("tapescope.model").find("\"exif\":\"apply\""), std::string::npos);
  EXPECT_EQ(data_options_of(info, "test").exif, Exif::apply);
  EXPECT_EQ(ModelInfo{}.exif, Exif::ignore);  // files of older versions do not say
  detection::DetectorConfig config;
  config.exif = Exif::apply;
  EXPECT_NE(detection::metadata_of(config).at("tapescope.detector").find("\"exif\":\"apply\""),
            std::string::npos);
  EXPECT_EQ(detection::DetectorConfig{}.exif, Exif::ignore);
  EXPECT_EQ(exif_from_name("ignore"), Exif::ignore);
  EXPECT_NE(usage_message([] { exif_from_name("rotate"); }).find("apply or ignore"),
            std::string::npos);
}

// A VOC folder of one picture, 40x32 as stored, whose annotation states this size (0: none).
void put_voc(const TemporaryFolder& folder, int orientation, int width, int height) {
  put(folder / "JPEGImages/a.jpg", with_orientation(baseline(), orientation));
  const std::string size =
      width > 0 ? fmt::format("<size><width>{}</width><height>{}</height><depth>3</depth></size>",
                              width, height)
                : "";
  put(folder / "Annotations/a.xml",
      "<annotation><filename>a.jpg</filename>" + size +
          "<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax>"
          "<ymax>30</ymax></bndbox></object></annotation>");
}

TEST(Exif, TheFrameThatFitsTheAnnotationWins) {
  using namespace detection;
  struct Case {
    int orientation, width, height;
    Exif asked, read;
    const char* said;
  };
  const Case cases[] = {
      {6, 32, 40, Exif::apply, Exif::apply, "which is applied"},
      {6, 40, 32, Exif::apply, Exif::ignore, "as stored"},
      {6, 40, 32, Exif::ignore, Exif::ignore, "which is not applied"},
      {6, 32, 40, Exif::ignore, Exif::apply, "turned"},
      {3, 40, 32, Exif::apply, Exif::apply, "which is applied"},
      {6, 0, 0, Exif::apply, Exif::apply, "which is applied"},
      {1, 40, 32, Exif::apply, Exif::apply, ""},
  };
  for (const Case& c : cases) {
    const TemporaryFolder folder;
    put_voc(folder, c.orientation, c.width, c.height);
    const DetectionData data = open_detection_data(folder.path(), {.exif = c.asked});
    ASSERT_EQ(data.train.size(), 1u);
    const std::string what = fmt::format("orientation {}, {}x{}", c.orientation, c.width, c.height);
    EXPECT_EQ(data.train[0].exif, c.read) << what;
    EXPECT_TRUE(*c.said == 0 || any_says(data.notices, c.said)) << what;
    const Image image = read_annotated(data.train[0]);
    EXPECT_EQ(image.width, data.train[0].width) << what;
    EXPECT_EQ(image.height, data.train[0].height) << what;
  }
  const TemporaryFolder folder;
  put_voc(folder, 6, 41, 32);
  const std::string message = usage_message([&] { open_detection_data(folder.path()); });
  EXPECT_NE(message.find("EXIF"), std::string::npos) << message;
  EXPECT_NE(message.find("41x32"), std::string::npos) << message;
}

TEST(Exif, YoloSharesAreOfTheTurnedPicture) {
  using namespace detection;
  const TemporaryFolder folder;
  put(folder / "data.yaml", std::string("train: images\nnames: [cat]\n"));
  put(folder / "images/a.jpg", with_orientation(baseline(), 6));
  put(folder / "labels/a.txt", std::string("0 0.5 0.25 0.5 0.5\n"));
  const DetectionData data = open_detection_data(folder.path());
  EXPECT_TRUE(any_says(data.notices, "which is applied"));
  EXPECT_EQ(data.train[0].width, 32);
  EXPECT_EQ(data.train[0].objects[0].box.w, 16);
  EXPECT_EQ(data.train[0].objects[0].box.h, 20);
  const DetectionData stored = open_detection_data(folder.path(), {.exif = Exif::ignore});
  EXPECT_EQ(stored.train[0].objects[0].box.w, 20);
  EXPECT_EQ(read_annotated(stored.train[0]).width, 40);
}

// The same visible pictures with the same labels, once stored upright and once turned.
TEST(Exif, TurnedPicturesFitTheirLabelsAsUprightOnesDo) {
  using namespace detection;
  const auto turned = shared_case("files/10_yolo/exif_sq");
  const auto upright = shared_case("files/10_yolo/noexif_sq");
  if (turned.empty() || upright.empty()) GTEST_SKIP() << "no shared cases";
  const DetectionData a = open_detection_data(turned), b = open_detection_data(upright);
  EXPECT_TRUE(any_says(a.notices, "which is applied"));
  ASSERT_EQ(a.train.size(), b.train.size());
  for (std::size_t i = 0; i < a.train.size(); ++i) {
    const Image x = read_annotated(a.train[i]), y = read_annotated(b.train[i]);
    ASSERT_EQ(x.pixels.size(), y.pixels.size());
    // Noise through JPEG twice; unturned they have nothing in common.
    const Image lying = read_image(a.train[i].path, 3, Exif::ignore);
    EXPECT_LT(mean_difference(x, y), 6) << a.train[i].path;
    EXPECT_GT(mean_difference(lying, y), 12) << a.train[i].path;
    ASSERT_EQ(a.train[i].objects.size(), b.train[i].objects.size());
    for (std::size_t k = 0; k < a.train[i].objects.size(); ++k) {
      EXPECT_NEAR(a.train[i].objects[k].box.x, b.train[i].objects[k].box.x, 1e-6);
      EXPECT_NEAR(a.train[i].objects[k].box.h, b.train[i].objects[k].box.h, 1e-6);
    }
  }
}

}  // namespace
}  // namespace tapescope
