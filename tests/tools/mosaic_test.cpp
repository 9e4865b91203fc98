// Mosaics of four pictures: what is learnt of them against what can be seen in their pixels.
#include "tools/detection/mosaic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/loader.h"
#include "tools/detection/detection_source.h"
#include "tools/report/png.h"

namespace tapescope::detection {
namespace {

constexpr int kHeight = 96, kWidth = 128, kClasses = 12;

using Colour = std::array<std::uint8_t, 3>;
// Twelve strong colours; pictures themselves are grey.
Colour colour_of(int category) {
  const std::uint8_t high = category / 6 == 0 ? 240 : 150, low = 20;
  const int bits = category % 6 + 1;
  return {(bits & 1) != 0 ? high : low, (bits & 2) != 0 ? high : low, (bits & 4) != 0 ? high : low};
}

class Mosaic : public ::testing::Test {
 protected:
  // A picture a class, of many sizes, with one rectangle of its colour.
  void SetUp() override {
    PhiloxStream random(11);
    for (int i = 0; i < kClasses; ++i) {
      const int height = 60 + static_cast<int>(random.below(120));
      const int width = 60 + static_cast<int>(random.below(120));
      Image picture(height, width, 3, static_cast<std::uint8_t>(40 + random.below(170)));
      const int w = 16 + static_cast<int>(random.below(30));
      const int h = 16 + static_cast<int>(random.below(30));
      const int x = static_cast<int>(random.below(static_cast<std::uint32_t>(width - w)));
      const int y = static_cast<int>(random.below(static_cast<std::uint32_t>(height - h)));
      const Colour colour = colour_of(i);
      for (int row = y; row < y + h; ++row) {
        for (int column = x; column < x + w; ++column) {
          std::copy(colour.begin(), colour.end(), picture.at(row, column));
        }
      }
      const std::string path = folder_ / (std::to_string(i) + ".png");
      write_png(path, picture);
      const Box box = {double(x), double(y), double(w), double(h)};
      images_.push_back({path, height, width, {{box, i, false, false, 7}}});
    }
  }
  DetectionSource source(Augment augment, std::int64_t mosaics) const {
    return {images_, kClasses, kHeight, kWidth, augment, mosaics};
  }
  TemporaryFolder folder_;
  std::vector<AnnotatedImage> images_;
};

struct Loaded {
  std::vector<float> image = std::vector<float>(kHeight * kWidth * 3);
  std::vector<float> heat = std::vector<float>(kHeight * kWidth / 16 * kClasses);
  std::vector<float> sides = std::vector<float>(kHeight * kWidth / 16 * 4);
  std::vector<float> weight = std::vector<float>(kHeight * kWidth / 16);
  Loaded(const DetectionSource& source, std::int64_t index, std::int64_t epoch) {
    void* const rows[] = {image.data(), heat.data(), sides.data(), weight.data()};
    source.load(index, {5, epoch, index}, rows);
  }
  bool operator==(const Loaded&) const = default;
  Colour pixel(int y, int x) const {
    Colour c;
    for (std::size_t k = 0; k < 3; ++k) {
      const float v = image[static_cast<std::size_t>(y * kWidth + x) * 3 + k];
      c[k] = static_cast<std::uint8_t>(std::lround((v / 4 + 0.5f) * 255));
    }
    return c;
  }
  // Not grey: of a rectangle, whatever contrast and brightness made of it.
  bool coloured(int y, int x) const {
    const Colour c = pixel(y, x);
    const auto [low, high] = std::minmax_element(c.begin(), c.end());
    return *high - *low > 30;
  }
  struct Target {
    int category;
    float x0, y0, x1, y1;
  };
  // A box a centre of the heat map.
  std::vector<Target> targets() const {
    std::vector<Target> all;
    for (std::size_t cell = 0; cell < weight.size(); ++cell) {
      for (int c = 0; c < kClasses; ++c) {
        if (heat[cell * kClasses + static_cast<std::size_t>(c)] != 1) continue;
        const float* s = &sides[cell * 4];
        all.push_back({c, s[0], s[1], s[2], s[3]});
      }
    }
    return all;
  }
};

TEST_F(Mosaic, BoxesAreWhereTheRectanglesAre) {
  const DetectionSource source = this->source(Augment::none, 1000);
  int boxes = 0, cut = 0, grey = 0;
  for (std::int64_t i = 0; i < 60; ++i) {
    const Loaded sample(source, i % kClasses, i / kClasses);
    std::array<double, kClasses> area = {}, seen = {}, whole = {};
    for (const auto& t : sample.targets()) {
      ++boxes;
      ASSERT_GE(t.x0, 0);
      ASSERT_GE(t.y0, 0);
      ASSERT_LE(t.x1, kWidth);
      ASSERT_LE(t.y1, kHeight);
      // Every pixel of the box but its blurred edge.
      for (int y = int(std::ceil(t.y0)) + 2; y < int(t.y1) - 2; ++y) {
        for (int x = int(std::ceil(t.x0)) + 2; x < int(t.x1) - 2; ++x) {
          ASSERT_EQ(sample.pixel(y, x), colour_of(t.category)) << i << ": " << x << ", " << y;
        }
      }
      area[std::size_t(t.category)] += (t.x1 - t.x0) * (t.y1 - t.y0);
    }
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const Colour c = sample.pixel(y, x);
        if (c == Colour{114, 114, 114}) ++grey;
        for (int k = 0; k < kClasses; ++k) seen[std::size_t(k)] += c == colour_of(k);
      }
    }
    // And no more of the colour than in the boxes and in rests of less than a quarter.
    for (std::size_t k = 0; k < kClasses; ++k) {
      const AnnotatedImage& image = images_[k];
      const double scale = std::min(double(kHeight) / image.height, double(kWidth) / image.width);
      const Box& box = image.objects[0].box;
      whole[k] = box.area() * scale * scale;
      const double round = scale * (box.w + box.h) / 2;  // half a pixel of two sides
      EXPECT_LE(seen[k], area[k] + 0.25 * whole[k] + round) << i << ", class " << k;
      const double edge = 4 * scale * (box.w + box.h) + 8;  // blurred by resizing, and rounding
      EXPECT_GE(seen[k], area[k] - edge) << i << ", class " << k;
      if (area[k] > 0 && area[k] < 0.9 * whole[k]) {
        ++cut;
        EXPECT_GE(area[k], 0.25 * whole[k] - 1e-3);
      }
    }
  }
  EXPECT_GT(boxes, 80);
  EXPECT_LT(boxes, 240);
  EXPECT_GT(cut, 20);
  EXPECT_GT(grey, 1000);
}

TEST_F(Mosaic, GoesOnThroughTheOtherChanges) {
  const DetectionSource source = this->source(Augment::flip_both, 1000);
  int boxes = 0;
  for (std::int64_t i = 0; i < 60; ++i) {
    const Loaded sample(source, i % kClasses, i / kClasses);
    std::vector<bool> covered(kHeight * kWidth);
    double largest = 0;
    for (const auto& t : sample.targets()) {
      ++boxes;
      for (int y = std::max(0, int(t.y0) - 2); y < std::min<int>(kHeight, int(t.y1) + 3); ++y) {
        for (int x = std::max(0, int(t.x0) - 2); x < std::min<int>(kWidth, int(t.x1) + 3); ++x) {
          covered[std::size_t(y * kWidth + x)] = true;
          if (y < t.y0 + 3 || y > t.y1 - 4 || x < t.x0 + 3 || x > t.x1 - 4) continue;
          ASSERT_TRUE(sample.coloured(y, x)) << i << ": " << x << ", " << y;
        }
      }
    }
    for (const AnnotatedImage& image : images_) {
      const double scale = std::min(double(kHeight) / image.height, double(kWidth) / image.width);
      largest = std::max(largest, image.objects[0].box.area() * scale * scale * 1.35 * 1.35);
    }
    int outside = 0;
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        outside += !covered[std::size_t(y * kWidth + x)] && sample.coloured(y, x);
      }
    }
    const auto left_out =
        static_cast<double>(4 - std::min<std::size_t>(4, sample.targets().size()));
    EXPECT_LE(outside, left_out * 0.25 * largest) << i;
  }
  EXPECT_GT(boxes, 70);
}

TEST_F(Mosaic, EndsBeforeTheLastEpochs) {
  for (const Augment augment : {Augment::none, Augment::flip}) {
    const DetectionSource with = source(augment, 9), without = source(augment, 0);
    for (std::int64_t i = 0; i < kClasses; ++i) {
      EXPECT_FALSE(Loaded(with, i, 8) == Loaded(without, i, 8));
      EXPECT_TRUE(Loaded(with, i, 9) == Loaded(without, i, 9));
    }
  }
}

TEST_F(Mosaic, TheSameWithAnyThreadsAndFromTheMiddle) {
  const auto data =
      std::make_shared<DetectionSource>(images_, kClasses, kHeight, kWidth, Augment::flip_both, 2);
  const auto batches = [&](int threads, std::int64_t first) {
    Loader loader(data, {.batch_size = 5, .shuffle = true, .seed = 3, .threads = threads});
    std::vector<Batch> all;
    for (std::int64_t epoch = first > 0 ? 1 : 0; epoch < 3; ++epoch) {
      loader.start(epoch, epoch == 1 ? first : 0);
      for (Batch batch; loader.next(batch);) all.push_back(batch);
    }
    return all;
  };
  const std::vector<Batch> expected = batches(0, 0);
  ASSERT_EQ(expected.size(), 9u);
  const auto expect_equal = [&](const std::vector<Batch>& got, std::size_t from) {
    ASSERT_EQ(got.size(), expected.size() - from);
    for (std::size_t b = 0; b < got.size(); ++b) {
      for (const char* name : {"image", "heat", "sides", "weight"}) {
        const Tensor &x = got[b][name], &y = expected[b + from][name];
        EXPECT_EQ(std::memcmp(x.data(), y.data(), y.type().bytes()), 0) << name << " " << b;
      }
    }
  };
  expect_equal(batches(3, 0), 0);
  expect_equal(batches(1, 2), 5);  // epoch 1 from its third batch on
}

TEST(Cut, LeavesAQuarterAndClips) {
  std::vector<Object> objects = {{{0, 0, 10, 10}, 0, false, false, 100},
                                 {{-8, 0, 10, 10}, 1, false, false, 100},   // a fifth is left
                                 {{-7.5, 0, 10, 10}, 2, true, false, 100},  // a quarter
                                 {{15, 15, 5, 5}, 3, false, false, 100}};   // was cut before
  cut(objects, {0, 0, 20, 20});
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[1].box, (Box{0, 0, 2.5, 10}));
  EXPECT_TRUE(objects[1].difficult);
  EXPECT_EQ(objects[2].category, 3);
  cut(objects, {0, 0, 19, 20});
  EXPECT_EQ(objects.size(), 2u) << "a fifth of the whole, though most of what was left";
}

}  // namespace
}  // namespace tapescope::detection
