// Schedules at points whose rates are known without the formula.
#include "layers/schedules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/error.h"

namespace tapescope {
namespace {

TEST(Schedules, Constant) {
  const Schedule s{.name = "constant", .peak = 0.3, .steps = 100};
  for (std::int64_t step : {0, 1, 99, 1000}) EXPECT_EQ(s.at(step), 0.3);
}

TEST(Schedules, StepFallsAtHalfAndThreeQuarters) {
  const Schedule s{.name = "step", .peak = 1, .steps = 100, .factor = 0.1};
  EXPECT_EQ(s.at(0), 1);
  EXPECT_EQ(s.at(49), 1);
  EXPECT_DOUBLE_EQ(s.at(50), 0.1);
  EXPECT_DOUBLE_EQ(s.at(74), 0.1);
  EXPECT_DOUBLE_EQ(s.at(75), 0.01);
  EXPECT_DOUBLE_EQ(s.at(100), 0.01);
}

TEST(Schedules, Cosine) {
  const Schedule s{.name = "cosine", .peak = 2, .steps = 12};
  EXPECT_DOUBLE_EQ(s.at(0), 2);
  EXPECT_NEAR(s.at(4), 1.5, 1e-12);  // cos(60 degrees) = 1/2
  EXPECT_NEAR(s.at(6), 1, 1e-12);
  EXPECT_NEAR(s.at(8), 0.5, 1e-12);
  EXPECT_NEAR(s.at(12), 0, 1e-12);
}

TEST(Schedules, OneCycleRisesThenFalls) {
  const Schedule s{.name = "one-cycle", .peak = 1, .steps = 100, .warmup = 0.2};
  EXPECT_DOUBLE_EQ(s.at(0), 0.04);
  EXPECT_NEAR(s.at(10), 0.52, 1e-12);
  EXPECT_DOUBLE_EQ(s.at(20), 1);
  EXPECT_NEAR(s.at(60), (1 + 1e-4) / 2, 1e-12);
  EXPECT_NEAR(s.at(100), 1e-4, 1e-12);
  EXPECT_EQ(s.at(200), s.at(100));
  for (std::int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(s.at(i) < s.at(i + 1), i < 20) << i;
    EXPECT_LT(std::abs(s.at(i) - s.at(i + 1)), 0.05) << i;
  }
}

TEST(Schedules, OfNoSteps) {
  for (const char* name : {"constant", "step", "cosine", "one-cycle"}) {
    const Schedule s{.name = name, .steps = 0, .warmup = 0};
    EXPECT_TRUE(std::isfinite(s.at(0))) << name;
  }
}

TEST(Schedules, Errors) {
  EXPECT_THROW((Schedule{.name = "cosinus"}.check()), Error);
  EXPECT_THROW((Schedule{.peak = 0}.check()), Error);
  EXPECT_THROW((Schedule{.peak = std::nan("")}.check()), Error);
  EXPECT_THROW((Schedule{.warmup = 1}.check()), Error);
  EXPECT_THROW((Schedule{.factor = 2}.check()), Error);
  EXPECT_NO_THROW(Schedule{}.check());
}

}  // namespace
}  // namespace tapescope
