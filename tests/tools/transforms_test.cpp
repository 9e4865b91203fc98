#include "tools/data/transforms.h"

#include <cmath>
#include <set>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/resize.h"

namespace tapescope {
namespace {

Image load(const std::string& name) {
  return read_image(fixture("images/" + name), name.ends_with(".pgm") ? 1 : 3);
}

int worst_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.width, b.width);
  if (a.pixels.size() != b.pixels.size()) return 255;
  int worst = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  }
  return worst;
}

// Pixel (y, x) has the value y * 16 + x (+ 100 c), so that a place can be read off a value.
Image coordinates(int height, int width, int channels) {
  Image image(height, width, channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        image.at(y, x)[c] = static_cast<std::uint8_t>(y * 16 + x + 100 * c);
      }
    }
  }
  return image;
}

std::vector<float> run(const Pipeline& pipeline, const Image& image, Pipeline::Key key = {}) {
  const Shape shape = pipeline.output_shape(image.height, image.width, image.channels);
  std::vector<float> out(static_cast<std::size_t>(shape.elements()), -1e9f);
  pipeline.apply(view_of(image), key, out.data());
  return out;
}
std::vector<int> pixels(const Pipeline& pipeline, const Image& image, Pipeline::Key key = {}) {
  std::vector<int> out;
  for (float value : run(pipeline, image, key))
    out.push_back(static_cast<int>(std::lround(value * 255)));
  return out;
}

TEST(Resize, EqualsPillow) {
  const Image color = load("color.ppm");
  const Image grey = load("grey.pgm");
  for (const auto& [width, height] :
       {std::pair{11, 7}, {16, 29}, {37, 12}, {64, 50}, {224, 5}, {1, 1}}) {
    const std::string size = fmt::format("{}x{}", width, height);
    EXPECT_EQ(
        worst_difference(resize_bilinear(color, height, width), load("color_" + size + ".ppm")), 0);
    EXPECT_EQ(worst_difference(resize_bilinear(grey, height, width), load("grey_" + size + ".pgm")),
              0);
  }
}

TEST(Resize, BicubicEqualsPillow) {
  const Image color = load("color.ppm");
  for (const auto& [width, height] : {std::pair{11, 7}, {64, 50}, {16, 29}}) {
    const Image expected = load(fmt::format("color_bicubic_{}x{}.ppm", width, height));
    EXPECT_EQ(
        worst_difference(resized_image(color, height, width, Interpolation::bicubic), expected), 0);
    // And from a pipeline's text.
    const Pipeline pipeline = Pipeline::from_json(fmt::format(
        R"([{{"type":"Resize","size":[{},{}],"interpolation":"bicubic"}},{{"type":"ToTensor"}}])",
        height, width));
    EXPECT_EQ(Pipeline::from_json(pipeline.to_json()), pipeline);
    const std::vector<int> seen = pixels(pipeline, color);
    EXPECT_TRUE(std::equal(seen.begin(), seen.end(), expected.pixels.begin()));
  }
  EXPECT_NE(usage_message([] { interpolation_from("lanczos"); }).find("bilinear or bicubic"),
            std::string::npos);
}

TEST(Resize, OfAWindowEqualsPillowsCropThenResize) {
  const Image color = load("color.ppm");
  const ImageView window{19, 20, 3, color.at(3, 5), nullptr};
  EXPECT_EQ(worst_difference(resize_bilinear(window, color.width * 3, 13, 13),
                             load("color_window_13x13.ppm")),
            0);
}

TEST(Resize, ShortSideKeepsProportions) {
  const Pipeline pipeline({Resize{.short_side = 20}, ToTensor{}});
  EXPECT_EQ(pipeline.output_shape(40, 101, 3), (Shape{20, 50, 3}));  // 50.5 is cut, as torchvision
  EXPECT_EQ(pipeline.output_shape(101, 40, 1), (Shape{50, 20, 1}));
  EXPECT_EQ(pipeline.output_shape(20, 20, 1), (Shape{20, 20, 1}));
}

TEST(Pipeline, NormalizesEachChannel) {
  const Image image = coordinates(3, 5, 3);
  const std::vector<double> mean = {0.485, 0.456, 0.406};
  const std::vector<double> std = {0.229, 0.224, 0.225};
  const auto out = run(Pipeline({ToTensor{}, Normalize{mean, std}}), image);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double expected = (image.pixels[i] / 255.0 - mean[i % 3]) / std[i % 3];
    EXPECT_NEAR(out[i], expected, 1e-6);
  }
  const auto one = run(Pipeline({ToTensor{}, Normalize{{0.475}, {0.224}}}), image);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_NEAR(one[i], (image.pixels[i] / 255.0 - 0.475) / 0.224, 1e-6);
  }
}

TEST(Pipeline, CenterCropAndItsPadding) {
  const Image image = coordinates(5, 6, 1);
  EXPECT_EQ(pixels(Pipeline({CenterCrop{3, 2}, ToTensor{}}), image),
            (std::vector<int>{18, 19, 34, 35, 50, 51}));
  // (5 - 2) / 2 = 1.5 and rounds to the even 2, as torchvision's does.
  EXPECT_EQ(pixels(Pipeline({CenterCrop{2, 2}, ToTensor{}}), image),
            (std::vector<int>{34, 35, 50, 51}));
  const auto padded = pixels(Pipeline({CenterCrop{7, 6}, ToTensor{}}), image);
  ASSERT_EQ(padded.size(), 42u);
  for (int x = 0; x < 6; ++x) {
    EXPECT_EQ(padded[static_cast<std::size_t>(x)], 0);
    EXPECT_EQ(padded[static_cast<std::size_t>(6 + x)], x);
    EXPECT_EQ(padded[static_cast<std::size_t>(36 + x)], 0);
  }
}

TEST(Pipeline, FlipMirrorsRows) {
  for (int channels : {1, 3}) {
    const Image image = coordinates(4, 7, channels);
    const auto out = pixels(Pipeline({RandomHorizontalFlip{1.0}, ToTensor{}}), image);
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 7; ++x) {
        for (int c = 0; c < channels; ++c) {
          EXPECT_EQ(out[static_cast<std::size_t>((y * 7 + x) * channels + c)],
                    image.at(y, 6 - x)[c]);
        }
      }
    }
  }
}

// Crop windows and flips are composed without copying; here each step makes a copy.
TEST(Pipeline, PaddedCropsAndFlipsComposeAsIfDoneOneByOne) {
  for (int channels : {1, 3}) {
    const Image image = coordinates(9, 8, channels);
    const Pipeline pipeline({RandomHorizontalFlip{1.0}, RandomCrop{7, 6, 3},
                             RandomHorizontalFlip{1.0}, CenterCrop{9, 10}, ToTensor{}});
    std::set<std::vector<int>> seen;
    for (std::int64_t sample = 0; sample < 40; ++sample) {
      const auto out = pixels(pipeline, image, {5, 2, sample});
      seen.insert(out);
      int matches = 0;
      for (int top = -3; top <= 5; ++top) {
        for (int left = -3; left <= 5; ++left) {
          std::vector<int> expected(static_cast<std::size_t>(9 * 10 * channels), 0);
          for (int y = 0; y < 7; ++y) {
            for (int x = 0; x < 6; ++x) {
              const int from_y = top + y;
              const int from_x = left + (5 - x);  // the second flip, of the crop
              if (from_y < 0 || from_y >= 9 || from_x < 0 || from_x >= 8) continue;
              for (int c = 0; c < channels; ++c) {
                expected[static_cast<std::size_t>(((y + 1) * 10 + x + 2) * channels + c)] =
                    image.at(from_y, 7 - from_x)[c];
              }
            }
          }
          matches += expected == out ? 1 : 0;
        }
      }
      EXPECT_EQ(matches, 1) << "sample " << sample;
    }
    EXPECT_GT(seen.size(), 20u);
  }
}

TEST(Pipeline, RandomnessIsKeyedBySeedEpochAndSample) {
  const Image image = coordinates(12, 12, 1);
  const Pipeline pipeline({RandomCrop{12, 12, 4}, RandomHorizontalFlip{}, ToTensor{}});
  const auto base = run(pipeline, image, {1, 2, 3});
  EXPECT_EQ(run(pipeline, image, {1, 2, 3}), base);
  int same = 0;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const auto s = static_cast<std::int64_t>(i);
    same += run(pipeline, image, {1 + i, 2, 3}) == base;
    same += run(pipeline, image, {1, 2 + s, 3}) == base;
    same += run(pipeline, image, {1, 2, 3 + s}) == base;
  }
  EXPECT_LE(same, 3);  // 162 outcomes: a chance repeat is possible
}

TEST(Pipeline, DrawsAreUniform) {
  const Image image = coordinates(12, 12, 1);
  const Pipeline pipeline({RandomCrop{1, 1, 0}, ToTensor{}});
  const Pipeline flip({RandomHorizontalFlip{0.25}, CenterCrop{12, 12}, ToTensor{}});
  std::vector<int> rows(12, 0);
  int flips = 0;
  constexpr int kDraws = 12000;
  for (std::int64_t sample = 0; sample < kDraws; ++sample) {
    ++rows[static_cast<std::size_t>(pixels(pipeline, image, {9, 0, sample})[0] / 16)];
    flips += pixels(flip, image, {9, 0, sample})[0] == 11;
  }
  double chi = 0;
  for (int count : rows) chi += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi, 31.3);  // 11 degrees of freedom: p = 0.001
  EXPECT_NEAR(flips / double{kDraws}, 0.25, 0.016);
}

TEST(RandomResizedCrop, AreaAndRatioStayInRangeAndVary) {
  // The value of a pixel is its place; corners of the result then tell the window, to rounding.
  Image image(200, 200, 3);
  for (int y = 0; y < 200; ++y) {
    for (int x = 0; x < 200; ++x) {
      image.at(y, x)[0] = static_cast<std::uint8_t>(y);
      image.at(y, x)[1] = static_cast<std::uint8_t>(x);
    }
  }
  const Pipeline pipeline({RandomResizedCrop{.height = 32, .width = 32}, ToTensor{}});
  double smallest = 1;
  double largest = 0;
  double log_ratio_sum = 0;
  constexpr int kDraws = 500;
  for (std::int64_t sample = 0; sample < kDraws; ++sample) {
    const auto out = pixels(pipeline, image, {3, 0, sample});
    const double height = (out[31 * 32 * 3] - out[0]) * 32.0 / 31.0;
    const double width = (out[31 * 3 + 1] - out[1]) * 32.0 / 31.0;
    const double area = height * width / (200.0 * 200.0);
    EXPECT_GT(area, 0.06);
    EXPECT_LE(area, 1.03);
    EXPECT_GT(width / height, 0.70);
    EXPECT_LT(width / height, 1.43);
    smallest = std::min(smallest, area);
    largest = std::max(largest, area);
    log_ratio_sum += std::log(width / height);
  }
  EXPECT_LT(smallest, 0.12);
  EXPECT_GT(largest, 0.85);
  EXPECT_NEAR(log_ratio_sum / kDraws, 0, 0.03);
}

TEST(RandomResizedCrop, FallsBackToTheCentreOfAnExtremePicture) {
  const Image image = coordinates(2, 13, 1);
  const Pipeline pipeline(
      {RandomResizedCrop{.height = 2, .width = 3, .smallest_area = 0.99}, ToTensor{}});
  EXPECT_EQ(pixels(pipeline, image), (std::vector<int>{5, 6, 7, 21, 22, 23}));
}

TEST(Pipeline, KnowsWhetherItDraws) {
  EXPECT_FALSE(Pipeline({Resize{.short_side = 256}, CenterCrop{224, 224}, ToTensor{}}).is_random());
  EXPECT_TRUE(Pipeline({RandomHorizontalFlip{}, ToTensor{}}).is_random());
  EXPECT_TRUE(Pipeline({RandomCrop{.height = 8, .width = 8}, ToTensor{}}).is_random());
  EXPECT_TRUE(Pipeline({RandomResizedCrop{.height = 8, .width = 8}, ToTensor{}}).is_random());
}

TEST(Pipeline, TextRoundTrip) {
  const Pipeline pipeline({Resize{.short_side = 256}, Resize{.height = 30, .width = 40},
                           RandomResizedCrop{.height = 28, .width = 24, .smallest_area = 0.3},
                           RandomCrop{24, 24, 4}, RandomHorizontalFlip{0.25}, CenterCrop{20, 22},
                           ToTensor{}, Normalize{{0.1307}, {0.3081}}});
  const std::string text = pipeline.to_json();
  EXPECT_EQ(Pipeline::from_json(text), pipeline) << text;
  EXPECT_EQ(Pipeline::from_json(text).to_json(), text);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\''), std::string::npos) << "usable as a literal TOML string";
  EXPECT_EQ(Pipeline::from_json(R"([{"type":"CenterCrop","size":8},{"type":"ToTensor"}])"),
            Pipeline({CenterCrop{8, 8}, ToTensor{}}));
}

TEST(Pipeline, RefusesWhatCannotBeDone) {
  const auto refuses = [](std::vector<Transform> transforms) {
    EXPECT_NE(usage_message([&] { Pipeline{transforms}; }), "");
  };
  refuses({});
  refuses({CenterCrop{3, 3}});
  refuses({ToTensor{}, ToTensor{}});
  refuses({Normalize{{0.5}, {0.5}}, ToTensor{}});
  refuses({ToTensor{}, CenterCrop{3, 3}});
  refuses({CenterCrop{0, 3}, ToTensor{}});
  refuses({Resize{.height = -1, .width = 4}, ToTensor{}});
  refuses({Resize{.height = 4}, ToTensor{}});
  refuses({RandomCrop{4, 4, -1}, ToTensor{}});
  refuses({RandomHorizontalFlip{1.5}, ToTensor{}});
  refuses({RandomResizedCrop{.height = 4, .width = 4, .smallest_area = 0}, ToTensor{}});
  refuses({ToTensor{}, Normalize{{0.5, 0.5}, {0.5}}});
  refuses({ToTensor{}, Normalize{{0.5}, {0.0}}});
  for (const char* text :
       {"", "[", R"([{"type":"Resize"}])", R"([{"type":"RandomHorizontalFlip","p":"x"}])", "{}",
        "[1]", "[{}]", R"([{"type":"Blur"}])", R"([{"type":7}])",
        R"([{"type":"CenterCrop"},{"type":"ToTensor"}])",
        R"([{"type":"CenterCrop","size":"big"},{"type":"ToTensor"}])",
        R"([{"type":"CenterCrop","size":[1,2,3]},{"type":"ToTensor"}])",
        R"([{"type":"CenterCrop","size":3,"padding":1},{"type":"ToTensor"}])"}) {
    const std::string message = usage_message([&] { Pipeline::from_json(text); });
    EXPECT_NE(message, "") << text;
    EXPECT_EQ(message.find("json.exception"), std::string::npos) << message;
  }
  const Image small = coordinates(4, 4, 1);
  EXPECT_NE(usage_message([&] { run(Pipeline({RandomCrop{8, 8, 1}, ToTensor{}}), small); }), "");
  const Pipeline three({ToTensor{}, Normalize{{0.1, 0.2, 0.3}, {1, 1, 1}}});
  EXPECT_NE(usage_message([&] { three.output_shape(4, 4, 1); }), "");
  float out[16];
  EXPECT_NE(usage_message([&] { three.apply(view_of(small), {}, out); }), "");
}

}  // namespace
}  // namespace tapescope
