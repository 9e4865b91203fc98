// Concepts where the answer is known, and the test's numbers from tables.
#include "autograd/explain/tcav.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

// Normal rows; the first coordinate is moved by `shift`.
Rows cloud(std::size_t count, std::size_t size, double shift, std::uint64_t seed) {
  PhiloxStream random(seed);
  Rows rows(count, std::vector<float>(size));
  for (auto& row : rows) {
    for (float& v : row) v = static_cast<float>(random.normal());
    row[0] += static_cast<float>(shift);
  }
  return rows;
}

TEST(Tcav, TheDirectionIsTheOneThatDiffers) {
  const ConceptVector v = concept_vector(cloud(200, 5, 6, 1), cloud(200, 5, 0, 2));
  EXPECT_GT(v.direction[0], 0.99);
  double length = 0;
  for (double d : v.direction) length += d * d;
  EXPECT_NEAR(length, 1, 1e-12);
  EXPECT_GT(v.accuracy, 0.97);
  const ConceptVector opposite = concept_vector(cloud(200, 5, 0, 2), cloud(200, 5, 6, 1));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(opposite.direction[i], -v.direction[i], 1e-9);
}

TEST(Tcav, TwoPointsAWayApart) {
  // Centre (1, 0), rows (+-1, +-2) about it, so that the normal is along (1, 2).
  const Rows shown(3, {2, 2}), others(3, {0, -2});
  const ConceptVector v = concept_vector(shown, others);
  EXPECT_NEAR(v.direction[0], 1 / std::sqrt(5), 1e-6);
  EXPECT_NEAR(v.direction[1], 2 / std::sqrt(5), 1e-6);
  EXPECT_EQ(v.accuracy, 1);
}

TEST(Tcav, MoreDimensionsThanPictures) {
  const ConceptVector v = concept_vector(cloud(10, 300, 40, 1), cloud(10, 300, 0, 2));
  EXPECT_GT(v.direction[0], 0.9);
}

TEST(Tcav, AConceptThatIsNoneIsGuessed) {
  double accuracy = 0;
  for (std::uint64_t k = 0; k < 20; ++k) {
    accuracy += concept_vector(cloud(30, 4, 0, 2 * k), cloud(30, 4, 0, 2 * k + 1)).accuracy / 20;
  }
  EXPECT_NEAR(accuracy, 0.5, 0.08);
}

TEST(Tcav, ScoreIsAShareOfPictures) {
  ConceptVector v;
  v.direction = {0.6, 0.8};
  const TcavScore score = tcav(v, {{1, 0}, {0, 1}, {-1, 0}, {0, 0}});
  EXPECT_EQ(score.share, 0.5) << "a derivative of 0 is no growth";
  EXPECT_NEAR(score.magnitude, (0.6 + 0.8 - 0.6) / 4, 1e-12);
  EXPECT_THROW(tcav(v, {}), Error);
  EXPECT_THROW(concept_vector({{1}, {2}}, {{1}, {2}, {3}}), Error);
  EXPECT_THROW(concept_vector({{1}, {2}, {3}}, {{1, 2}, {2, 2}, {3, 2}}), Error);
  EXPECT_THROW(concept_vector({{1}, {1}, {1}}, {{1}, {1}, {1}}), Error) << "nothing differs";
}

TEST(TTest, KnownValues) {
  // Means 3 and 5, variances 2.5 and 2.5, five values each: t = -2, 8 degrees of freedom. The
  // two-sided p of |t| = 2 with 8 degrees is 0.080516.
  const std::vector<double> a = {1, 2, 3, 4, 5}, b = {3, 4, 5, 6, 7};
  const TTest test = t_test(a, b);
  EXPECT_NEAR(test.t, -2, 1e-12);
  EXPECT_NEAR(test.degrees, 8, 1e-12);
  EXPECT_NEAR(test.p, 0.080516, 1e-6);
  // With one degree of freedom Student's distribution is Cauchy's: p = 1 - 2 atan(t) / pi.
  const std::vector<double> c = {0, 2}, d = {5, 5};
  const TTest cauchy = t_test(c, d);
  EXPECT_NEAR(cauchy.degrees, 1, 1e-12);
  EXPECT_NEAR(cauchy.t, -4, 1e-12);
  EXPECT_NEAR(cauchy.p, 1 - 2 * std::atan(4.0) / M_PI, 1e-12);
  const std::vector<double> same = {1, 1, 1}, other = {0, 0, 0};
  EXPECT_EQ(t_test(same, same).p, 1);
  EXPECT_EQ(t_test(same, other).p, 0);
  EXPECT_THROW(t_test(std::vector<double>{1}, a), Error);
}

}  // namespace
}  // namespace tapescope::explain
