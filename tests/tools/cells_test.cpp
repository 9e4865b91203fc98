// Why an answer is listed or not, on cells filled by hand.
#include <gtest/gtest.h>

#include "tools/detection/cells.h"

namespace tapescope::detection {
namespace {

constexpr int kH = 4, kW = 6, kC = 2;

// All answers at 0.01 with boxes of 8x8 around their cells.
Cells quiet() {
  Cells cells{Tensor::full({DType::f32, {1, kH, kW, kC}}, 0.01),
              Tensor({DType::f32, {1, kH, kW, 4}})};
  const auto b = cells.boxes.values<float>();
  for (int y = 0; y < kH; ++y) {
    for (int x = 0; x < kW; ++x) {
      const float cx = static_cast<float>(4 * x), cy = static_cast<float>(4 * y);
      const float corners[] = {cx - 4, cy - 4, cx + 4, cy + 4};
      std::copy(std::begin(corners), std::end(corners),
                b.begin() + static_cast<std::ptrdiff_t>((y * kW + x) * 4));
    }
  }
  return cells;
}

void set(Cells& cells, int y, int x, int category, float p) {
  cells.probability.values<float>()[static_cast<std::size_t>((y * kW + x) * kC + category)] = p;
}

TEST(Cells, AVerdictNamesThePeakUphill) {
  Cells cells = quiet();
  set(cells, 1, 1, 0, 0.4f);
  set(cells, 1, 2, 0, 0.6f);
  set(cells, 2, 3, 0, 0.9f);
  const DetectOptions options;
  EXPECT_EQ(verdict_of(cells, 2, 3, 0, options).fate, Fate::listed);
  const Verdict beaten = verdict_of(cells, 1, 1, 0, options);
  EXPECT_EQ(beaten.fate, Fate::beaten);
  EXPECT_EQ(beaten.by_y, 2) << "not the neighbour, which is no peak either";
  EXPECT_EQ(beaten.by_x, 3);
  EXPECT_FLOAT_EQ(beaten.by_score, 0.9f);
  // 8x8 boxes, 8 pixels apart across: they touch.
  EXPECT_EQ(beaten.overlap, 0);
  // 4 apart both ways: 16 of 112 pixels.
  EXPECT_NEAR(verdict_of(cells, 1, 2, 0, options).overlap, 16.0 / 112, 1e-12);
  const Verdict unsure = verdict_of(cells, 1, 1, 1, options);
  EXPECT_EQ(unsure.fate, Fate::unsure);
  EXPECT_FLOAT_EQ(unsure.score, 0.01f);
}

TEST(Cells, AVerdictNamesTheBoxThatSuppresses) {
  Cells cells = quiet();
  set(cells, 1, 1, 0, 0.8f);
  set(cells, 1, 3, 0, 0.7f);
  set(cells, 1, 5, 1, 0.6f);
  // The second peak's box is moved onto the first's.
  const float moved[] = {0, 1, 8, 9};
  std::copy(std::begin(moved), std::end(moved),
            cells.boxes.values<float>().begin() + (1 * kW + 3) * 4);
  DetectOptions options;
  EXPECT_EQ(verdict_of(cells, 1, 3, 0, options).fate, Fate::listed) << "no --nms";
  options.nms = 0.5;
  const Verdict covered = verdict_of(cells, 1, 3, 0, options);
  EXPECT_EQ(covered.fate, Fate::covered);
  EXPECT_EQ(covered.by_x, 1);
  EXPECT_NEAR(covered.overlap, 56.0 / 72, 1e-12);  // 8x7 of 64 + 64 - 56
  EXPECT_EQ(listed(cells, options).size(), 2u);
  options.nms = 0;
  options.most = 2;
  EXPECT_EQ(verdict_of(cells, 1, 5, 1, options).fate, Fate::crowded);
}

TEST(Cells, EqualNeighboursAreBothPeaks) {
  Cells cells = quiet();
  set(cells, 0, 0, 1, 0.5f);
  set(cells, 0, 1, 1, 0.5f);
  EXPECT_EQ(listed(cells, {}).size(), 2u) << "as the network's own pooling has it";
  EXPECT_EQ(verdict_of(cells, 0, 1, 1, {}).fate, Fate::listed);
}

TEST(Cells, AMissedObjectIsExplainedByTheCellThatFitsIt) {
  Cells cells = quiet();
  set(cells, 1, 1, 0, 0.9f);
  set(cells, 2, 4, 1, 0.2f);
  set(cells, 2, 4, 0, 0.25f);
  const auto object = [](double x, double y, int category) {
    Object o;
    o.box = {x - 4, y - 4, 8, 8};
    o.category = category;
    return o;
  };
  std::vector<Object> objects = {object(4, 4, 0), object(16, 8, 1), object(4, 4, 1)};
  std::vector<Missed> all = missed(cells, objects, {});
  ASSERT_EQ(all.size(), 2u) << "the first is found; a box finds one object of its class";
  EXPECT_EQ(all[0].y, 2);
  EXPECT_EQ(all[0].x, 4);
  EXPECT_EQ(all[0].overlap, 1);
  EXPECT_EQ(all[0].category, 0) << "which the cell is surer of";
  EXPECT_FLOAT_EQ(all[0].surest, 0.25f);
  EXPECT_FLOAT_EQ(all[0].verdict.score, 0.2f);
  EXPECT_EQ(all[0].verdict.fate, Fate::unsure);
  objects[1].crowd = objects[2].difficult = true;
  EXPECT_TRUE(missed(cells, objects, {}).empty());
  // Two objects in one place, one box: one is missed.
  objects = {object(4, 4, 0), object(5, 4, 0)};
  ASSERT_EQ(missed(cells, objects, {}).size(), 1u);
  EXPECT_EQ(missed(cells, objects, {})[0].object.box.x, 1);
}

}  // namespace
}  // namespace tapescope::detection
