// Resizing against its own sentence, pixel by pixel: at every instruction set, of windows and in
// parts; and pipelines that resize only what a crop leaves against their steps one after the other.
#include "tools/data/resize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/isa.h"
#include "engine/philox.h"
#include "tools/data/transforms.h"

namespace tapescope {
namespace {

int below(PhiloxStream& random, int bound) {
  return static_cast<int>(random.below(static_cast<std::uint32_t>(bound)));
}
int between(PhiloxStream& random, int low, int high) { return low + below(random, high - low + 1); }

// Half of the values at the ends, where cubic weights overshoot.
Image noise(PhiloxStream& random, int height, int width, int channels) {
  Image image(height, width, channels);
  for (std::uint8_t& v : image.pixels) {
    const int kind = below(random, 4);
    v = static_cast<std::uint8_t>(kind == 0 ? 0 : kind == 1 ? 255 : below(random, 256));
  }
  return image;
}

double weight_at(double distance, bool cubic) {
  const double d = std::abs(distance);
  if (!cubic) return std::max(0.0, 1 - d);
  if (d < 1) return 1.5 * d * d * d - 2.5 * d * d + 1;
  return d < 2 ? -0.5 * d * d * d + 2.5 * d * d - 4 * d + 2 : 0;
}

// One output value: a weighted sum in 22-bit fixed point of the pixels that `at` gives.
template <class At>
std::uint8_t mixed(int in, int out, int i, bool cubic, At&& at) {
  const double scale = static_cast<double>(in) / out, stretch = std::max(1.0, scale);
  const double centre = (i + 0.5) * scale, reach = stretch * (cubic ? 2 : 1);
  const int first = std::max(0, static_cast<int>(centre - reach + 0.5));
  const int last = std::min(in, static_cast<int>(centre + reach + 0.5));
  double whole = 0;
  for (int k = first; k < last; ++k) whole += weight_at((k - centre + 0.5) / stretch, cubic);
  std::int64_t sum = 1 << 21;
  for (int k = first; k < last; ++k) {
    const double w = weight_at((k - centre + 0.5) / stretch, cubic) / whole;
    sum += std::lround(w * (1 << 22)) * at(k);
  }
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> 22, 0, 255));
}

Image expected(const Image& image, int height, int width, bool cubic) {
  Image narrow(image.height, width, image.channels), out(height, width, image.channels);
  for (int c = 0; c < image.channels; ++c) {
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < width; ++x) {
        narrow.at(y, x)[c] = width == image.width ? image.at(y, x)[c]
                                                  : mixed(image.width, width, x, cubic,
                                                          [&](int k) { return image.at(y, k)[c]; });
      }
    }
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        out.at(y, x)[c] = height == image.height ? narrow.at(y, x)[c]
                                                 : mixed(image.height, height, y, cubic,
                                                         [&](int k) { return narrow.at(k, x)[c]; });
      }
    }
  }
  return out;
}

Image cut(const Image& image, const ImagePart& part) {
  Image out(part.height, part.width, image.channels);
  for (int y = 0; y < part.height; ++y) {
    std::copy_n(image.at(part.top + y, part.left), part.width * image.channels, out.at(y, 0));
  }
  return out;
}

ImagePart some_part(PhiloxStream& random, int height, int width) {
  ImagePart part;
  part.top = below(random, height);
  part.left = below(random, width);
  part.height = between(random, 1, height - part.top);
  part.width = between(random, 1, width - part.left);
  return part;
}

TEST(Resize, EqualsItsSumsAtEveryInstructionSet) {
  const Isa before = isa();
  for (const Isa level : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    set_isa(level);
    PhiloxStream random(7);
    for (int i = 0; i < 150; ++i) {
      const int channels = i % 3 == 0 ? 1 : 3;
      const Image image = noise(random, between(random, 1, 40), between(random, 1, 60), channels);
      const int height = i % 7 == 0 ? image.height : between(random, 1, 50);
      const int width = i % 5 == 0 ? image.width : between(random, 1, 50);
      const bool cubic = i % 2 == 1;
      const Interpolation by = cubic ? Interpolation::bicubic : Interpolation::bilinear;
      const Image whole = expected(image, height, width, cubic);
      EXPECT_EQ(resized_image(image, height, width, by).pixels, whole.pixels)
          << name_of(level) << ' ' << i;
      // A part of it, and a window of a larger picture.
      const ImagePart part = some_part(random, height, width);
      EXPECT_EQ(resized_image(view_of(image), std::ptrdiff_t{image.width} * channels, height, width,
                              by, part)
                    .pixels,
                cut(whole, part).pixels)
          << name_of(level) << ' ' << i;
      const ImagePart window = some_part(random, image.height, image.width);
      const ImageView view{window.height, window.width, channels, image.at(window.top, window.left),
                           nullptr};
      EXPECT_EQ(
          resized_image(view, std::ptrdiff_t{image.width} * channels, height, width, by).pixels,
          expected(cut(image, window), height, width, cubic).pixels)
          << name_of(level) << ' ' << i;
    }
  }
  set_isa(before);
}

std::vector<float> run(const Pipeline& pipeline, const Image& image, const Pipeline::Key& key) {
  std::vector<float> out(static_cast<std::size_t>(
      pipeline.output_shape(image.height, image.width, image.channels).elements()));
  pipeline.apply(view_of(image), key, out.data());
  return out;
}

// Steps that draw nothing, of which crops may reach outside; each may follow each.
Transform some_step(PhiloxStream& random) {
  const int height = between(random, 1, 40), width = between(random, 1, 40);
  switch (below(random, 4)) {
    case 0:
      return Resize{.height = height, .width = width};
    case 1:
      return Resize{.short_side = height, .interpolation = Interpolation::bicubic};
    case 2:
      return RandomHorizontalFlip{below(random, 2) == 0 ? 0.0 : 1.0};
    default:
      return CenterCrop{height, width};
  }
}

TEST(Pipeline, StepsTogetherAreTheStepsOneByOne) {
  PhiloxStream random(11);
  for (int i = 0; i < 400; ++i) {
    const Image image =
        noise(random, between(random, 1, 40), between(random, 1, 40), i % 2 == 0 ? 1 : 3);
    std::vector<Transform> steps;
    Image now = image;
    for (int k = between(random, 1, 5); k > 0; --k) {
      steps.push_back(some_step(random));
      const Pipeline one({steps.back(), ToTensor{}});
      const Shape shape = one.output_shape(now.height, now.width, now.channels);
      const std::vector<float> values = run(one, now, {});
      now = Image(static_cast<int>(shape[0]), static_cast<int>(shape[1]), now.channels);
      for (std::size_t v = 0; v < values.size(); ++v) {
        now.pixels[v] = static_cast<std::uint8_t>(std::lround(values[v] * 255));
      }
    }
    steps.emplace_back(ToTensor{});
    EXPECT_EQ(run(Pipeline(steps), image, {}), run(Pipeline(), now, {}))
        << i << ' ' << Pipeline(steps).to_json();
  }
}

TEST(Pipeline, IsItsFixedStepsAndTheRest) {
  PhiloxStream random(13);
  const std::vector<std::vector<Transform>> all = {
      {ToTensor{}},
      {Resize{.short_side = 20}, CenterCrop{16, 24}, ToTensor{}, Normalize{{0.3}, {0.2}}},
      {Resize{.height = 18, .width = 20}, RandomCrop{16, 16, 2}, RandomHorizontalFlip{},
       ToTensor{}},
      {RandomResizedCrop{.height = 8, .width = 9}, CenterCrop{7, 7}, ToTensor{}},
      {CenterCrop{30, 30}, RandomHorizontalFlip{}, Resize{.height = 9, .width = 7}, ToTensor{}},
  };
  const std::size_t left[] = {1, 2, 3, 3, 3};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Pipeline pipeline(all[i]);
    EXPECT_EQ(pipeline.rest().transforms().size(), left[i]) << pipeline.to_json();
    for (std::int64_t sample = 0; sample < 8; ++sample) {
      const Image image = noise(random, between(random, 8, 40), between(random, 8, 40), 3);
      const Image fixed = pipeline.fixed(view_of(image));
      EXPECT_EQ(pipeline.fixed_shape(image.height, image.width, 3),
                Shape({fixed.height, fixed.width, 3}));
      EXPECT_EQ(run(pipeline.rest(), fixed, {1, 2, sample}), run(pipeline, image, {1, 2, sample}))
          << pipeline.to_json();
    }
  }
}

}  // namespace
}  // namespace tapescope
