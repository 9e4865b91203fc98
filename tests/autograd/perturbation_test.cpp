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

// relu(relu(a - 1) - relu(b)) of rows (a, b).
TEST(FeatureAblation, OfTwoInputsRowByRow) {
  const Scores scores = [](const Tensor& pictures) {
    Tensor result(Type{DType::f32, {pictures.shape()[0]}});
    for (std::int64_t n = 0; n < pictures.shape()[0]; ++n) {
      const double a = pictures.item(2 * n), b = pictures.item(2 * n + 1);
      result.values<float>()[static_cast<std::size_t>(n)] =
          static_cast<float>(std::max(std::max(a - 1, 0.0) - std::max(b, 0.0), 0.0));
    }
    return result;
  };
  const Tensor rows = f32({2, 1, 2, 1}, {-10, -5, 3, 1}), zeros = f32({1, 1, 2, 1}, {0, 0});
  EXPECT_EQ(numbers(feature_ablation(scores, rows, zeros, Segments::from_ids(1, 2, {0, 1})).map),
            (std::vector<float>{0, 0, 1, -1}));
}

TEST(Occlusion, OfTheDenseNet) {
  const Tensor x = picture(20, 50, 30);
  // Windows {0,1} and {1,2}, the first with a baseline of 10: 4 * (70 - 20) and 4 * (80 - 20).
  EXPECT_EQ(numbers(occlusion(dense_scores, x, picture(10, 10, 10), windows_of(1, 3, 2, 1)).map),
            (std::vector<float>{200, 220, 240}));
  // At a stride of 2 the last window is moved to the border, {1,2}, and overlaps the first.
  EXPECT_EQ(numbers(occlusion(dense_scores, x, picture(0, 0, 0), windows_of(1, 3, 2, 2)).map),
            (std::vector<float>{280, 300, 320}));
  // A window of one position is ablation.
  EXPECT_EQ(numbers(occlusion(dense_scores, x, picture(0, 0, 0), windows_of(1, 3, 1, 1)).map),
            (std::vector<float>{80, 200, 120}));
  EXPECT_THROW(windows_of(1, 3, 0, 1), Error);
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

TEST(KernelShap, OverAllCoalitionsIsShapley) {
  const Segments each = Segments::from_ids(1, 3, {0, 1, 2});
  const auto exact = [&](const Tensor& x, const Tensor& baseline, const Segments& segments) {
    return numbers(kernel_shap(dense_scores, x, baseline, segments, 100, 1).map);
  };
  const Tensor zero = picture(0, 0, 0), x = picture(20, 50, 30);
  expect_near(exact(x, zero, each), {76.666667f, 196.666667f, 116.666667f}, 1e-3f);
  expect_near(exact(picture(2, 10, 3), zero, each), {7, 32.5f, 10.5f}, 1e-3f);
  expect_near(exact(x, picture(10, 20, 10), each), {40, 120, 80}, 1e-3f);
  // Two features, the first of two positions, which share its value.
  const Segments two = Segments::from_ids(1, 3, {7, 7, 2});
  expect_near(exact(x, zero, two), {137.5f, 137.5f, 115}, 1e-3f);
  expect_near(exact(x, picture(4, 4, 4), two), {124, 124, 104}, 1e-3f);
}

// sum of w[i] x[i] plus 3 x[0] x[1]: with all of x 1 and a baseline of 0, the Shapley values are
// w, and half of the 3 more for the first two.
Tensor with_an_interaction(const Tensor& pictures) {
  const std::int64_t rows = pictures.shape()[0], length = pictures.elements() / rows;
  Tensor result(Type{DType::f32, {rows}});
  for (std::int64_t n = 0; n < rows; ++n) {
    double sum = 3 * pictures.item(n * length) * pictures.item(n * length + 1);
    for (std::int64_t i = 0; i < length; ++i) {
      sum += static_cast<double>(i) * pictures.item(n * length + i);
    }
    result.values<float>()[static_cast<std::size_t>(n)] = static_cast<float>(sum);
  }
  return result;
}

TEST(KernelShap, DrawnCoalitionsComeWithinTheirError) {
  const Tensor ones = Tensor::full({DType::f32, {1, 4, 4, 1}}, 1),
               zero = Tensor::zeros(ones.type());
  const Segments each = Segments::grid(4, 4, 4, 4);
  const Estimate drawn = kernel_shap(with_an_interaction, ones, zero, each, 600, 5);
  EXPECT_LE(drawn.points, 600);
  double sum = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    const double exact = static_cast<double>(i) + (i < 2 ? 1.5 : 0);
    EXPECT_NEAR(drawn.map.values<float>()[i], exact, 4 * drawn.error.item() + 1e-3) << i;
    sum += drawn.map.values<float>()[i];
  }
  EXPECT_NEAR(sum, 123, 1e-3) << "efficiency, whatever was drawn";
  EXPECT_GT(drawn.error.item(), 0);
  EXPECT_LT(drawn.error.item(), 0.5);
  EXPECT_EQ(numbers(drawn.map),
            numbers(kernel_shap(with_an_interaction, ones, zero, each, 600, 5, 3).map));
  EXPECT_THROW(kernel_shap(with_an_interaction, ones, zero, each, 20, 5), Error)
      << "fewer pairs than features";
}

TEST(Lime, OfAnAdditiveFunctionIsItsTerms) {
  const Scores line = [](const Tensor& pictures) {
    const std::int64_t rows = pictures.shape()[0], length = pictures.elements() / rows;
    Tensor result(Type{DType::f32, {rows}});
    for (std::int64_t n = 0; n < rows; ++n) {
      double sum = 5;
      for (std::int64_t i = 0; i < length; ++i) {
        sum += static_cast<double>(i - 3) * pictures.item(n * length + i);
      }
      result.values<float>()[static_cast<std::size_t>(n)] = static_cast<float>(sum);
    }
    return result;
  };
  const Tensor x = Tensor::full({DType::f32, {1, 3, 3, 1}}, 2), one = Tensor::full(x.type(), 1);
  const Segments each = Segments::grid(3, 3, 3, 3);
  LimeOptions options;
  options.ridge = 0;
  options.forwards = 60;
  const Estimate exact = lime(line, x, one, each, options);
  for (int i = 0; i < 9; ++i) {
    EXPECT_NEAR(exact.map.values<float>()[static_cast<std::size_t>(i)], i - 3, 1e-4) << i;
  }
  EXPECT_LT(exact.error.item(), 1e-4);
  options.ridge = 1;
  const Estimate ridge = lime(line, x, one, each, options);
  const auto size = [](const Estimate& e) {
    double sum = 0;
    for (float v : numbers(e.map)) sum += std::fabs(v);
    return sum;
  };
  EXPECT_LT(size(ridge), size(exact)) << "a ridge shrinks";
  options.ridge = 0;
  options.forwards = 4;
  EXPECT_THROW(lime(line, x, one, each, options), Error) << "nine unknowns, four draws";
}

TEST(Slic, PatchesFollowColours) {
  // Left half dark, right half bright, a border that is no grid line.
  Tensor x = Tensor::zeros({DType::f32, {1, 20, 20, 3}});
  for (std::size_t i = 0; i < 20 * 20 * 3; ++i) {
    if (i / 3 % 20 >= 7) x.values<float>()[i] = 1;
  }
  const Segments patches = Segments::slic(x, 16);
  EXPECT_GE(patches.count, 8);
  EXPECT_LE(patches.count, 24);
  std::vector<int> dark(static_cast<std::size_t>(patches.count)), bright(dark.size());
  for (std::size_t p = 0; p < 400; ++p) {
    const auto id = static_cast<std::size_t>(patches.id[p]);
    (p % 20 < 7 ? dark[id] : bright[id]) += 1;
  }
  for (std::size_t k = 0; k < dark.size(); ++k) {
    EXPECT_TRUE(dark[k] == 0 || bright[k] == 0) << "patch " << k << " crosses the border";
    EXPECT_GE(dark[k] + bright[k], 5) << "no crumbs";
  }
  EXPECT_EQ(Segments::slic(Tensor::zeros({DType::f32, {1, 1, 1, 1}}), 16).count, 1);
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

// A bent function of an 8x8 picture whose mean is far from its spread, as a class's bias makes it.
Scores bent(float bias) {
  return [bias](const Tensor& pictures) {
    Tensor result(Type{DType::f32, {pictures.shape()[0]}});
    const std::int64_t length = pictures.elements() / pictures.shape()[0];
    for (std::int64_t n = 0; n < pictures.shape()[0]; ++n) {
      double sum = -6;
      for (std::int64_t i = 0; i < length; ++i) {
        sum += pictures.item(n * length + i) * (i % 8 < 3 ? 1 : -0.2);
      }
      result.values<float>()[static_cast<std::size_t>(n)] =
          bias + static_cast<float>(std::max(sum, 0.1 * sum));
    }
    return result;
  };
}

// The standard error that the method tells, against the spread of maps over seeds.
TEST(Rise, ItsErrorIsTheSpreadOverSeeds) {
  const Tensor x = Tensor::full({DType::f32, {1, 8, 8, 1}}, 1), black = Tensor::zeros(x.type());
  for (float bias : {0.0f, 100.0f}) {
    constexpr int kSeeds = 200;
    std::vector<double> sum(64), squares(64);
    double told = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
      const Estimate one = rise(bent(bias), x, black, 4, 150, static_cast<std::uint64_t>(seed));
      told += one.error.item() / kSeeds;
      for (std::size_t p = 0; p < 64; ++p) {
        const double v = one.map.values<float>()[p];
        sum[p] += v / kSeeds;
        squares[p] += v * v / kSeeds;
      }
    }
    double spread = 0;
    for (std::size_t p = 0; p < 64; ++p) {
      spread = std::max(spread, std::sqrt(squares[p] - sum[p] * sum[p]));
    }
    // The largest of 64 errors is told a little high. It was 3.4 to 40 times the spread once.
    EXPECT_GT(told, 0.8 * spread) << "bias " << bias;
    EXPECT_LT(told, 1.4 * spread) << "bias " << bias;
  }
}

TEST(Rise, AConstantAddedToTheScoreChangesNothing) {
  const Tensor x = Tensor::full({DType::f32, {1, 8, 8, 1}}, 1), black = Tensor::zeros(x.type());
  const Estimate plain = rise(bent(0), x, black, 4, 300, 7),
                 raised = rise(bent(100), x, black, 4, 300, 7);
  expect_near(numbers(raised.map), numbers(plain.map), 1e-4f);
  EXPECT_NEAR(raised.error.item() / plain.error.item(), 1, 1e-3);
}

// What cannot be told is not told as 0.
TEST(Errors, AreUnknownWhereTooLittleIsDrawn) {
  const Tensor x = Tensor::full({DType::f32, {1, 8, 8, 1}}, 1), black = Tensor::zeros(x.type());
  const Segments each = Segments::grid(8, 8, 8, 8);
  const auto error = [](const Estimate& e) { return e.error.item(); };
  EXPECT_TRUE(std::isnan(error(shapley_sampling(bent(0), x, black, each, 130, 1)))) << "one pair";
  EXPECT_GT(error(shapley_sampling(bent(0), x, black, each, 260, 1)), 0) << "two";
  // 64 features: 80 pairs determine them, 40 do not.
  EXPECT_TRUE(std::isnan(error(kernel_shap(bent(0), x, black, each, 162, 1))));
  EXPECT_GT(error(kernel_shap(bent(0), x, black, each, 1000, 1)), 0);
  LimeOptions options;
  options.forwards = 100;  // the ridge gives an answer for 50 draws of 65 unknowns
  EXPECT_TRUE(std::isnan(error(lime(bent(0), x, black, each, options))));
  options.forwards = 500;
  EXPECT_GT(error(lime(bent(0), x, black, each, options)), 0);
  // What takes all there are has no error of drawing.
  EXPECT_EQ(error(kernel_shap(bent(0), x, black, Segments::grid(8, 8, 2, 2), 100, 1)), 0);
  EXPECT_EQ(error(shapley_sampling(bent(0), x, black, Segments::grid(8, 8, 1, 2), 1, 1)), 0);
}

TEST(Errors, OfANaNScoreAreNotZero) {
  const Scores nan = [](const Tensor& pictures) {
    return Tensor::full({DType::f32, {pictures.shape()[0]}}, kUnknown);
  };
  const Tensor x = Tensor::full({DType::f32, {1, 4, 4, 1}}, 1), black = Tensor::zeros(x.type());
  const Segments each = Segments::grid(4, 4, 2, 2);
  EXPECT_TRUE(std::isnan(rise(nan, x, black, 2, 20, 1).error.item()));
  EXPECT_TRUE(std::isnan(shapley_sampling(nan, x, black, each, 100, 1).error.item()));
  EXPECT_TRUE(std::isnan(lime(nan, x, black, each).error.item()));
  const Gradients slope = [](const Tensor& points) {
    return Tensor::full(points.type(), kUnknown);
  };
  EXPECT_TRUE(std::isnan(
      integrated_gradients(slope, x, black, quadrature(PathRule::midpoint, 9)).error.item()));
  EXPECT_TRUE(std::isnan(
      noise_mean(slope, x, relative_noise(x, 0.1, 1), NoiseMean::gradient, 5).error.item()));
}

// Numbers are made in pairs that share a radius: neighbours are uncorrelated in value and in
// square.
TEST(RelativeNoise, IsNormalWithTheShareOfEachPicturesRange) {
  constexpr std::int64_t kPixels = 100001;  // the last has no partner
  Tensor x = Tensor::zeros({DType::f32, {2, 1, kPixels, 1}});
  x.values<float>()[1] = 1;
  x.values<float>()[kPixels] = -3;
  const Offset offset = relative_noise(x, 0.5, 1);
  const Tensor noise = offset(0), other = offset(1);
  double sum = 0, squares = 0, products = 0, of_squares = 0, between = 0;
  for (std::int64_t i = 0; i < kPixels; ++i) {
    const double a = noise.item(i) / 0.5, b = noise.item((i + 1) % kPixels) / 0.5;
    sum += a, squares += a * a, products += a * b, of_squares += (a * a - 1) * (b * b - 1);
    between += a * other.item(i) / 0.5;
    EXPECT_FLOAT_EQ(noise.item(kPixels + i), 3 * noise.item(i));  // of the second picture
  }
  EXPECT_NEAR(sum / kPixels, 0, 0.02);
  EXPECT_NEAR(squares / kPixels, 1, 0.02);
  EXPECT_NEAR(products / kPixels, 0, 0.02);
  EXPECT_NEAR(of_squares / kPixels, 0, 0.04);
  EXPECT_NEAR(between / kPixels, 0, 0.02);
  EXPECT_NE(noise.item(kPixels - 1), 0);
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
