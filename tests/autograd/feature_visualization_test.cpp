// Pictures that raise what is asked for, and the moves between steps.
#include "autograd/explain/feature_visualization.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

const Shape kShape{1, 12, 10, 2};

Tensor noise(std::uint64_t seed) {
  Tensor t(Type{DType::f32, kShape});
  PhiloxStream random(seed);
  for (float& v : t.values<float>()) v = static_cast<float>(random.normal());
  return t;
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.elements(); ++i) sum += a.item(i) * b.item(i);
  return sum;
}

// One linear unit: the second channel's left half less the first channel's right half.
Climb linear_unit(const Tensor& picture) {
  Climb climb{0, Tensor::zeros(picture.type())};
  for (std::int64_t i = 0; i < picture.elements(); ++i) {
    const std::int64_t x = i / 2 % 10, c = i % 2;
    const double weight = c == 1 && x < 5 ? 1 : c == 0 && x >= 5 ? -1 : 0;
    climb.value += weight * picture.item(i);
    climb.gradient.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(weight);
  }
  return climb;
}

TEST(FeatureVisualization, ALinearUnitDrivesPixelsByTheSignOfItsWeights) {
  VisualizationOptions options;
  options.jitter = options.scale = options.rotation = 0;
  const Visualization found = visualize(linear_unit, kShape, options);
  ASSERT_EQ(found.values.size(), 256u);
  EXPECT_GT(found.values.back(), found.values.front() + 40);
  for (std::int64_t i = 0; i < found.picture.elements(); ++i) {
    const std::int64_t x = i / 2 % 10, c = i % 2;
    const double v = found.picture.item(i);
    EXPECT_TRUE(!(c == 1 && x < 5) || v > 0.9) << i << " is " << v;
    EXPECT_TRUE(!(c == 0 && x >= 5) || v < 0.1) << i << " is " << v;
  }
}

TEST(FeatureVisualization, RisesWhileThePictureMoves) {
  VisualizationOptions options;
  options.steps = 200;
  const Visualization one = visualize(linear_unit, kShape, options);
  const double at_the_end = linear_unit(one.picture).value;
  EXPECT_GT(at_the_end, 35) << "of 60 at most; plain grey gives 0";
  const Visualization again = visualize(linear_unit, kShape, options);
  EXPECT_TRUE(std::equal(one.picture.values<float>().begin(), one.picture.values<float>().end(),
                         again.picture.values<float>().begin()))
      << "one seed, one picture";
  options.seed = 1;
  EXPECT_NE(visualize(linear_unit, kShape, options).values.back(), one.values.back());
}

TEST(FeatureVisualization, RefusesWhatCannotBeClimbed) {
  EXPECT_THROW(visualize(linear_unit, {2, 12, 10, 2}), Error);
  VisualizationOptions options;
  options.steps = 0;
  EXPECT_THROW(visualize(linear_unit, kShape, options), Error);
  const auto broken = [](const Tensor& picture) {
    return Climb{0, Tensor::full(picture.type(), std::nan(""))};
  };
  EXPECT_THROW(visualize(broken, kShape), Error);
}

TEST(Placement, NoMoveIsNoChangeAndShiftsShift) {
  const Tensor x = noise(1);
  const Tensor same = placed(x, {});
  for (std::int64_t i = 0; i < x.elements(); ++i) EXPECT_NEAR(same.item(i), x.item(i), 1e-6);
  Placement shift;
  shift.shift_y = 2;
  shift.shift_x = -1;
  const Tensor moved = placed(x, shift);
  const auto at = [](const Tensor& t, int y, int c) { return t.item((y * 10 + c) * 2); };
  EXPECT_NEAR(at(moved, 5, 4), at(x, 3, 5), 1e-6);
  EXPECT_NEAR(at(moved, 0, 4), at(x, 0, 5), 1e-6) << "the edge is repeated";
}

TEST(Placement, AQuarterTurnAndADoubling) {
  Tensor x = Tensor::zeros({DType::f32, {1, 5, 5, 1}});
  x.values<float>()[1 * 5 + 2] = 1;  // above the middle
  Placement turn;
  turn.degrees = 90;
  const Tensor turned = placed(x, turn);
  EXPECT_NEAR(turned.item(2 * 5 + 1) + turned.item(2 * 5 + 3), 1, 1e-5) << "beside the middle";
  Placement larger;
  larger.factor = 2;
  EXPECT_NEAR(placed(x, larger).item(0 * 5 + 2), 1, 1e-5) << "twice as far from the middle";
}

TEST(Placement, TheTransposeCarriesGradients) {
  const Tensor x = noise(1), g = noise(2);
  const Placement p{13, 1.2, 1.3, -0.7};
  EXPECT_NEAR(dot(placed(x, p), g), dot(x, placed_transpose(g, p)), 1e-3);
}

}  // namespace
}  // namespace tapescope::explain
