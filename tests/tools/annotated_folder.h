// Annotated pictures in a folder of their own, for the tests of the three formats.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/image.h"
#include "tools/detection/annotations.h"
#include "tools/report/png.h"

namespace tapescope::detection {

class AnnotatedFolder : public ::testing::Test {
 protected:
  using Words = std::vector<std::string>;

  // Pictures are 100 x 50, so that a share is soon a pixel. What they hold is a PNG whatever their
  // ending says.
  void picture(const std::string& name, int width = 100, int height = 50) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_png(folder_ / name, Image(height, width, 3, 90));
  }
  void pictures(const Words& names) {
    for (const std::string& name : names) picture(name);
  }
  void write(const std::string& name, const std::string& text) { put(folder_ / name, text); }
  void clear() {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      std::filesystem::remove_all(entry.path());
    }
  }
  DetectionData open(const DetectionDataOptions& options = {}) {
    return open_detection_data(folder_.path(), options);
  }
  static void expect_says(const std::string& text, const Words& parts) {
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
    }
  }
  void expect_complaint(const Words& parts, const DetectionDataOptions& options = {}) {
    const std::string message = usage_message([&] { open(options); });
    expect_says(message, parts);
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(message.find("exception"), std::string::npos) << message;
  }
  static void expect_box(const Box& box, double x, double y, double w, double h) {
    EXPECT_NEAR(box.x, x, 1e-9);
    EXPECT_NEAR(box.y, y, 1e-9);
    EXPECT_NEAR(box.w, w, 1e-9);
    EXPECT_NEAR(box.h, h, 1e-9);
  }
  static std::string joined(const Words& notices) {
    std::string all;
    for (const std::string& notice : notices) all += notice + "\n";
    return all;
  }
  // Names of the pictures' files, sorted.
  static Words names_of(const std::vector<AnnotatedImage>& images) {
    Words names;
    for (const AnnotatedImage& image : images) {
      names.push_back(std::filesystem::path(image.path).filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  // Up to three bytes changed, pieces taken away, put in or doubled.
  static std::string damaged(std::string text, PhiloxStream& random) {
    for (std::uint32_t i = 1 + random.below(3); i > 0 && !text.empty(); --i) {
      const std::size_t at = random.below(static_cast<std::uint32_t>(text.size()));
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, 1 + random.below(4));
          break;
        case 2:
          text.insert(at, std::string(1 + random.below(6000), "{[9-:\"<"[random.below(7)]));
          break;
        default:
          text.insert(at, text.substr(0, at));
      }
    }
    return text;
  }
  // Boxes lie in their pictures and have a class, whatever was read.
  static void expect_sound(const DetectionData& data) {
    for (const AnnotatedImage& image : data.train) {
      for (const Object& o : image.objects) {
        ASSERT_TRUE(o.box.x >= 0 && o.box.w > 0 && o.box.x + o.box.w <= 100 + 1e-9);
        ASSERT_TRUE(o.box.y >= 0 && o.box.h > 0 && o.box.y + o.box.h <= 50 + 1e-9);
        ASSERT_LT(static_cast<std::size_t>(o.category), data.classes.size());
      }
    }
  }
  // A file of that name, damaged `times` times, is read soundly or refused with a sentence. How
  // often it was read.
  int read_damaged(const std::string& name, const std::string& text, int times) {
    PhiloxStream random(stable_hash(name));
    int read = 0;
    for (int i = 0; i < times; ++i) {
      write(name, damaged(text, random));
      try {
        expect_sound(open());
        ++read;
      } catch (const Error& error) {
        EXPECT_EQ(error.blame(), Blame::usage) << error.what();
        EXPECT_EQ(std::string(error.what()).find("exception"), std::string::npos) << error.what();
      }
    }
    return read;
  }
  TemporaryFolder folder_;
};

}  // namespace tapescope::detection
