// Pictures with known causes: that the cause, and nothing else, goes with the class.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "tools/synthesis/scene.h"

namespace tapescope::synthesis {
namespace {

class Scenes : public testing::TestWithParam<Rule> {};

TEST_P(Scenes, TwinDiffersOnlyWhereTheCauseIs) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Scene scene = make_scene(GetParam(), static_cast<int>(seed % 3), 64, 4, seed);
    const Scene twin = scene.twin(static_cast<int>((seed + 1) % 3));
    EXPECT_EQ(scene.label(), static_cast<int>(seed % 3));
    EXPECT_EQ(twin.label(), static_cast<int>((seed + 1) % 3));
    const Image a = draw(scene), b = draw(twin);
    const Image mine = mask_of(scene.objects[0], 64), other = mask_of(twin.objects[0], 64);
    int differing = 0;
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 64; ++x) {
        const bool differs = !std::equal(a.at(y, x), a.at(y, x) + 3, b.at(y, x));
        differing += differs;
        if (!differs) continue;
        // Within a pixel of a mask: smoothed edges reach that far.
        bool near = false;
        for (int r = std::max(0, y - 1); r <= std::min(63, y + 1); ++r) {
          for (int c = std::max(0, x - 1); c <= std::min(63, x + 1); ++c) {
            near = near || *mine.at(r, c) != 0 || *other.at(r, c) != 0;
          }
        }
        EXPECT_TRUE(near) << seed << ": " << y << ", " << x;
      }
    }
    EXPECT_GT(differing, 5) << seed;
  }
}

TEST_P(Scenes, OnlyTheCauseFollowsTheRule) {
  int others = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Scene scene = make_scene(GetParam(), static_cast<int>(seed % 3), 64, 4, seed);
    for (std::size_t k = 1; k < scene.objects.size(); ++k, ++others) {
      if (GetParam() == Rule::shape) {
        EXPECT_NE(scene.objects[k].hue, Hue::red);
      } else {
        EXPECT_NE(scene.objects[k].kind, ShapeKind::circle);
      }
    }
  }
  EXPECT_GT(others, 140) << "three others in nearly every picture";
}

TEST_P(Scenes, SameSeedSamePicture) {
  const auto picture = [&](std::uint64_t seed) {
    return draw(make_scene(GetParam(), 1, 48, 3, seed)).pixels;
  };
  EXPECT_EQ(picture(7), picture(7));
  EXPECT_NE(picture(7), picture(8));
}

INSTANTIATE_TEST_SUITE_P(Rules, Scenes, testing::Values(Rule::shape, Rule::colour));

TEST(Shapes, HaveEqualAreasAndTightBoxes) {
  for (const ShapeKind kind : {ShapeKind::circle, ShapeKind::square, ShapeKind::triangle}) {
    Object object;
    object.kind = kind;
    object.y = object.x = 64;
    object.radius = 30;
    object.angle = 0.4;
    const Image mask = mask_of(object, 128);
    const auto area = std::count(mask.pixels.begin(), mask.pixels.end(), 255);
    EXPECT_NEAR(static_cast<double>(area), 3.14159 * 900, 25) << static_cast<int>(kind);
    const Box box = box_of(mask);
    if (kind == ShapeKind::circle) {
      EXPECT_EQ(box.left, 34);
      EXPECT_EQ(box.right, 94);
      EXPECT_EQ(box.top, 34);
      EXPECT_EQ(box.bottom, 94);
    }
  }
  EXPECT_EQ(box_of(Image(5, 5, 1)).right, 0);
}

TEST(Shapes, DoNotTouch) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Scene scene = make_scene(Rule::shape, 0, 64, 4, seed);
    std::vector<int> covered(64 * 64);
    for (const Object& object : scene.objects) {
      const Image mask = mask_of(object, 64);
      for (std::size_t i = 0; i < covered.size(); ++i) covered[i] += mask.pixels[i] != 0;
    }
    EXPECT_LE(*std::max_element(covered.begin(), covered.end()), 1) << seed;
  }
}

}  // namespace
}  // namespace tapescope::synthesis
