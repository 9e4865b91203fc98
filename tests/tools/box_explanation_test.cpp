// What must hold of any explanation of a box: nothing from beyond the receptive field, and the map
// moves with the picture.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/explainer.h"
#include "engine/philox.h"
#include "tools/detection/centre_detector.h"
#include "tools/detection/localise.h"
#include "tools/inspection/structure.h"

namespace tapescope::detection {
namespace {

constexpr int kHeight = 32, kWidth = 1536, kCell = 4;

// Narrow channels: the geometry is what counts.
CentreDetector& detector() {
  static CentreDetector model(
      {.classes = {"a", "b"}, .height = kHeight, .width = kWidth, .channel_scale = 0.25});
  return model;
}

explain::Explainer explainer_at(int cell_x, const KernelChoices& kernels = {}) {
  return explain::Explainer(
      [cell_x](Tape&, Var image) {
        const Var heat = detector()({{"image", image}}).at("heat");
        return reshape(slice(slice(heat, 1, 4, 5), 2, cell_x, cell_x + 1), {2});
      },
      {kHeight, kWidth, 3}, Backend{Device::cpu(), kernels});
}

// Noise in [left, left + 64), flat elsewhere.
Tensor picture(int left) {
  Tensor image = Tensor::full({DType::f32, {1, kHeight, kWidth, 3}}, 0.25);
  PhiloxStream random(11);
  const auto v = image.values<float>();
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < 64 * 3; ++x) {
      v[static_cast<std::size_t>((y * kWidth + left) * 3 + x)] =
          static_cast<float>(random.uniform());
    }
  }
  return image;
}

// Sums of sizes by column.
std::vector<double> columns(const Tensor& map) {
  std::vector<double> sums(kWidth, 0);
  const auto v = map.values<float>();
  for (std::size_t i = 0; i < v.size(); ++i) sums[i / 3 % kWidth] += std::abs(v[i]);
  return sums;
}

const Tensor kClass = Tensor::from<std::int64_t>({1}, {1});

TEST(BoxExplanation, NothingComesFromBeyondTheReceptiveField) {
  const inspection::Structure structure = inspection::structure_of(
      [](Tape&, Var image) {
        return std::vector{detector()({{"image", image}}).at("heat")};
      },
      {kHeight, kWidth, 3}, {});
  std::int64_t field = 0;
  for (const inspection::StructureRow& row : structure.rows) {
    if (row.path == "lateral16/conv2d") field = row.field_w;
  }
  // From there two 3x3 convolutions at stride 4 (smooth4 and the head's) and one at stride 8, and
  // less than two coarse cells for the upsampling.
  field += 2 * 4 * 2 + 2 * 8;
  ASSERT_GT(field, 0);
  ASSERT_LT(field + 64, kWidth / 2);
  constexpr int kAt = kWidth / 2 / kCell;
  // Winograd's transforms mix the cells of a tile and cancel but for rounding: what they leave
  // beyond the field is not nothing, but it is small. Direct convolutions leave nothing.
  explain::Explainer fast = explainer_at(kAt);
  explain::Explainer explainer =
      explainer_at(kAt, {{"conv2d", "reference"}, {"conv2d_data_gradient", "reference"}});
  for (const char* method :
       {"saliency", "lrp-epsilon-plus", "lrp-epsilon", "integrated-gradients"}) {
    const auto sums = columns(explainer.explain(method, picture(kWidth / 2 - 32), kClass).map);
    double inside = 0;
    for (int x = 0; x < kWidth; ++x) {
      const bool reachable = std::abs(x - kAt * kCell) <= field / 2 + 32;
      if (reachable) {
        inside += sums[static_cast<std::size_t>(x)];
      } else {
        EXPECT_EQ(sums[static_cast<std::size_t>(x)], 0) << method << " at column " << x;
      }
    }
    EXPECT_GT(inside, 0) << method;
    double beyond = 0;
    const auto approximate = columns(fast.explain(method, picture(kWidth / 2 - 32), kClass).map);
    for (int x = 0; x < kWidth; ++x) {
      if (std::abs(x - kAt * kCell) > field / 2 + 32) {
        beyond += approximate[static_cast<std::size_t>(x)];
      }
    }
    EXPECT_LT(beyond, 1e-6 * inside) << method;
  }
}

TEST(BoxExplanation, TheMapMovesWithThePicture) {
  constexpr int kShift = 160, kAt = 700;  // pixels; a multiple of the coarsest stride, 16
  for (const char* method : {"saliency", "lrp-epsilon-plus", "input-x-gradient"}) {
    const auto here =
        columns(explainer_at(kAt / kCell).explain(method, picture(kAt - 32), kClass).map);
    const auto there = columns(explainer_at((kAt + kShift) / kCell)
                                   .explain(method, picture(kAt + kShift - 32), kClass)
                                   .map);
    double largest = 0;
    for (double v : here) largest = std::max(largest, v);
    ASSERT_GT(largest, 0);
    for (int x = 0; x + kShift < kWidth; ++x) {
      ASSERT_NEAR(here[static_cast<std::size_t>(x)], there[static_cast<std::size_t>(x + kShift)],
                  1e-5 * largest)
          << method << " at column " << x;
    }
  }
}

TEST(Localise, TheLargestRegionOfAClassMap) {
  Map map;
  map.height = 4;
  map.width = 6;
  map.values = {0.9f, 0, 0, 0,    0,    0,  //
                0,    0, 0, 0.5f, 1.0f, 0,  //
                0,    0, 0, 0.6f, 0.1f, 0,  //
                0,    0, 0, 0,    0,    0.5f};
  EXPECT_EQ(localise(map, 0.4), (Box{3, 1, 2, 2}));
  EXPECT_EQ(localise(map, 0.95), (Box{4, 1, 1, 1}));
  map.values.assign(24, -1);
  EXPECT_EQ(localise(map).area(), 0);
}

}  // namespace
}  // namespace tapescope::detection
