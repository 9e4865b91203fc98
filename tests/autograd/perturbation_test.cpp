// Methods that change pictures, against numbers worked out by hand.
#include "autograd/explain/perturbation.h"

#include <cmath>

#include "autograd/explain/score_cam.h"
#include "engine/philox.h"
#include "explain_cases.h"

namespace tapescope::explain {
namespace {

// Of pictures {N,1,3,1} with s = a + b + c: max(s - 10, 0) + 3 max(s + 1, 0) - 1; 392 at a sum of
// 100, 2 at 0.
Tensor dense_scores(const Tensor& pictures) {
  Tensor result(Type{DType::f32, {pictures.shape()[0]}});
  for (std::int64_t n = 0; n < pictures.shape()[0]; ++n) {
    const double s = pictures.item(3 * n) + pictures.item(3 * n + 1) + pictures.item(3 * n + 2);
    result.values<float>()[static_cast<std::size_t>(n)] =
        static_cast<float>(std::max(s - 10, 0.0) + 3 * std::max(s + 1, 0.0) - 1);
  }
  return result;
}

Tensor picture(float a, float b, float c) { return f32({1, 1, 3, 1}, {a, b, c}); }

TEST(FeatureAblation, OfTheDenseNet) {
  const auto ablate = [](Tensor x, float baseline, std::vector<int> ids) {
    return numbers(feature_ablation(dense_scores, x, picture(baseline, baseline, baseline),
                                    Segments::from_ids(1, 3, ids))
                       .map);
  };
  EXPECT_EQ(ablate(picture(20, 50, 30), 0, {0, 1, 2}), (std::vector<float>{80, 200, 120}));
  EXPECT_EQ(ablate(picture(20, 50, 30), 0, {7, 7, -2}), (std::vector<float>{280, 280, 120}));
  EXPECT_EQ(ablate(picture(20, 50, 30), 4, {0, 0, 1}), (std::vector<float>{248, 248, 104}));
  EXPECT_EQ(ablate(picture(2, 10, 3), 0, {0, 1, 2}), (std::vector<float>{8, 35, 12}));
}

TEST(Occlusion, OfTheDenseNet) {
  const Tensor x = picture(20, 50, 30);
  // Windows {0,1} and {1,2}, the first with a baseline of 10: 4 * (70 - 20) and 4 * (80 - 20).
  EXPECT_EQ(numbers(occlusion(dense_scores, x, picture(10, 10, 10), 2, 1).map),
            (std::vector<float>{200, 220, 240}));
  // A window of one position is ablation.
  EXPECT_EQ(numbers(occlusion(dense_scores, x, picture(0, 0, 0), 1, 1).map),
            (std::vector<float>{80, 200, 120}));
  EXPECT_THROW(occlusion(dense_scores, x, picture(0, 0, 0), 0, 1), Error);
}

TEST(Shapley, AddsUpExactlyAndApproachesTheExactValues) {
  const Segments each = Segments::from_ids(1, 3, {0, 1, 2});
  for (double forwards : {1.0, 80.0, 8000.0}) {
    const Estimate few =
        shapley_sampling(dense_scores, picture(20, 50, 30), picture(0, 0, 0), each, forwards, 3);
    EXPECT_NEAR(total(few.map), 390, 1e-3) << "F(x) - F(x') whatever the number of draws";
  }
  const Estimate many =
      shapley_sampling(dense_scores, picture(20, 50, 30), picture(0, 0, 0), each, 8000, 3);
  const float tolerance = 4 * static_cast<float>(many.error.item()) + 1e-3f;
  EXPECT_LT(tolerance, 2);
  expect_near(numbers(many.map), {76.666667f, 196.666667f, 116.666667f}, tolerance);
  // Two features: a permutation and its reverse are all there are.
  const Estimate two = shapley_sampling(dense_scores, picture(20, 50, 30), picture(0, 0, 0),
                                        Segments::from_ids(1, 3, {0, 0, 1}), 1, 9);
  expect_near(numbers(two.map), {137.5f, 137.5f, 115}, 1e-3f);
}

TEST(Rise, OfALinearFunctionRanksAsItsTermsDo) {
  const Scores line = [](const Tensor& pictures) {
    Tensor result(Type{DType::f32, {pictures.shape()[0]}});
    const std::int64_t length = pictures.elements() / pictures.shape()[0];
    for (std::int64_t n = 0; n < pictures.shape()[0]; ++n) {
      double sum = 0;  // only the first quarter of the picture counts
      for (std::int64_t i = 0; i < length / 4; ++i) sum += pictures.item(n * length + i);
      result.values<float>()[static_cast<std::size_t>(n)] = static_cast<float>(sum);
    }
    return result;
  };
  const Tensor x = Tensor::full({DType::f32, {1, 8, 8, 1}}, 1);
  const Estimate estimate = rise(line, x, Tensor::zeros(x.type()), 4, 2000, 1);
  const std::vector<float> map = numbers(estimate.map);
  double inside = 0, outside = 0;
  for (std::size_t i = 0; i < 16; ++i) inside += map[i] / 16;
  for (std::size_t i = 40; i < 64; ++i) outside += map[i] / 24;
  EXPECT_GT(inside, 1);
  EXPECT_NEAR(outside, 0, 4 * estimate.error.item());
  EXPECT_GT(estimate.error.item(), 0);
  // As many pictures in a run as one likes: the same bits.
  EXPECT_EQ(numbers(rise(line, x, Tensor::zeros(x.type()), 4, 50, 1, 1).map),
            numbers(rise(line, x, Tensor::zeros(x.type()), 4, 50, 1, 13).map));
}

// A0 = [[1,2],[0,3]], A1 = [[2,0],[1,1]] under a global mean and weights 2 and -1: y = 3 - 1 = 2.
Tensor mean_head(const Tensor& maps) {
  Tensor result(Type{DType::f32, {maps.shape()[0]}});
  for (std::int64_t n = 0; n < maps.shape()[0]; ++n) {
    double sum = 0;
    for (std::int64_t i = 0; i < 8; ++i) sum += maps.item(8 * n + i) * (i % 2 == 0 ? 2 : -1) / 4;
    result.values<float>()[static_cast<std::size_t>(n)] = static_cast<float>(sum);
  }
  return result;
}

TEST(AblationCam, WeighsAChannelByWhatItsLossCosts) {
  const Tensor maps = f32({1, 2, 2, 2}, {1, 2, 2, 0, 0, 1, 3, 1});
  // Without A0 the score falls by 3, without A1 it rises by 1: weights 3/2 and -1/2.
  expect_near(numbers(ablation_cam(mean_head, maps, 100).map), {0.5f, 3, -0.5f, 4}, 1e-6f);
  // The stronger channel alone: 6 against 4.
  expect_near(numbers(ablation_cam(mean_head, maps, 1).map), {1.5f, 3, 0, 4.5f}, 1e-6f);
}

TEST(ScoreCam, IsASoftmaxOfTheMaskedScores) {
  const Tensor maps = f32({1, 2, 2, 2}, {1, 2, 2, 0, 0, 1, 3, 1});
  const Tensor x = f32({1, 2, 2, 1}, {1, 2, 3, 4});
  const Scores first_pixel = [](const Tensor& pictures) {  // F is the first pixel
    Tensor result(Type{DType::f32, {pictures.shape()[0]}});
    for (std::int64_t n = 0; n < pictures.shape()[0]; ++n) {
      result.values<float>()[static_cast<std::size_t>(n)] =
          static_cast<float>(pictures.item(4 * n));
    }
    return result;
  };
  // H_0 is 1/3 at the first pixel and H_1 is 1.
  const double w0 = std::exp(1.0 / 3) / (std::exp(1.0 / 3) + std::exp(1.0)), w1 = 1 - w0;
  const auto at = [&](double a0, double a1) { return static_cast<float>(w0 * a0 + w1 * a1); };
  expect_near(numbers(score_cam(first_pixel, x, maps, 100).map),
              {at(1, 2), at(2, 0), at(0, 1), at(3, 1)}, 1e-6f);
}

TEST(Segments, GridAndBadSizes) {
  const Segments grid = Segments::grid(4, 4, 2, 2);
  EXPECT_EQ(grid.count, 4);
  EXPECT_EQ(grid.id, (std::vector<int>{0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3}));
  EXPECT_EQ(Segments::grid(2, 2, 8, 8).count, 4);
  EXPECT_THROW(Segments::from_ids(2, 2, {1}), Error);
  EXPECT_THROW(feature_ablation(dense_scores, picture(1, 2, 3), picture(0, 0, 0), grid), Error);
}

}  // namespace
}  // namespace tapescope::explain
