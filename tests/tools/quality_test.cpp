// Scores of explanations against numbers worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/explain/explainer.h"
#include "autograd/ops/ops.h"
#include "engine/philox.h"
#include "layers/models/zoo.h"
#include "tools/quality/controls.h"
#include "tools/quality/faithfulness.h"
#include "tools/quality/map_metrics.h"
#include "tools/quality/panel.h"
#include "tools/quality/randomisation.h"

namespace tapescope::quality {
namespace {

Map map_of(int height, int width, std::vector<float> values) { return Map(height, width, values); }

const Mask kBottomRow{2, 2, {false, false, true, true}};

TEST(MapMetrics, KnownMassRankAndPointing) {
  const Map map = map_of(2, 2, {1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(mass_accuracy(map, kBottomRow), 0.7);
  EXPECT_DOUBLE_EQ(rank_accuracy(map, kBottomRow), 1);
  EXPECT_DOUBLE_EQ(pointing_game(map, kBottomRow), 1);
  EXPECT_DOUBLE_EQ(kBottomRow.share(), 0.5);
  const Map other = map_of(2, 2, {4, 2, 3, 1});
  EXPECT_DOUBLE_EQ(rank_accuracy(other, kBottomRow), 0.5);
  EXPECT_DOUBLE_EQ(pointing_game(other, kBottomRow), 0);
  EXPECT_DOUBLE_EQ(pointing_game(other, kBottomRow, 1), 1) << "one pixel below the largest";
}

TEST(MapMetrics, ChannelsAddUpWithOrWithoutTheirSigns) {
  const Tensor map = Tensor::from<float>({1, 1, 2, 2}, {1, -3, 2, 2});
  EXPECT_EQ(channel_sum(map).values, (std::vector<float>{-2, 4}));
  EXPECT_EQ(channel_sum(map, Signs::dropped).values, (std::vector<float>{4, 4}));
}

TEST(MapMetrics, NegativeValuesAreNoMass) {
  EXPECT_DOUBLE_EQ(mass_accuracy(map_of(2, 2, {-9, 1, 3, -9}), kBottomRow), 0.75);
  EXPECT_DOUBLE_EQ(mass_accuracy(map_of(2, 2, {-9, -1, -3, -9}), kBottomRow), 0);
}

TEST(MapMetrics, EqualValuesShareWhatTheyScore) {
  const Mask quarter{2, 2, {true, false, false, false}};
  const Map flat = map_of(2, 2, {5, 5, 5, 5});
  EXPECT_DOUBLE_EQ(pointing_game(flat, quarter), 0.25);
  EXPECT_DOUBLE_EQ(rank_accuracy(flat, quarter), 0.25);
  EXPECT_DOUBLE_EQ(rank_accuracy(map_of(2, 2, {0, 5, 5, 0}), kBottomRow), 0.5);
}

TEST(MapMetrics, MapThatIsNotFiniteNeverScores) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    const Map map = map_of(2, 2, {0, 0, 0, bad});
    EXPECT_EQ(pointing_game(map, kBottomRow), 0);
    EXPECT_EQ(mass_accuracy(map, kBottomRow), 0);
    EXPECT_EQ(rank_accuracy(map, kBottomRow), 0);
  }
}

TEST(MapMetrics, WrongSizeOfMaskIsAUsageError) {
  EXPECT_THROW(mass_accuracy(map_of(1, 4, {1, 2, 3, 4}), kBottomRow), Error);
}

TEST(MapMetrics, SparsenessAndComplexity) {
  const std::vector<float> rising{1, 2, 3, 4}, signs{-4, 3, -2, 1}, one{0, 0, -7, 0}, flat(4, 2.f);
  EXPECT_NEAR(sparseness(rising), 0.25, 1e-12);
  EXPECT_NEAR(sparseness(signs), 0.25, 1e-12);
  EXPECT_NEAR(sparseness(one), 0.75, 1e-12);
  EXPECT_NEAR(sparseness(flat), 0, 1e-12);
  EXPECT_NEAR(complexity(rising), 1.2798542258, 1e-9);
  EXPECT_NEAR(complexity(one), 0, 1e-12);
  EXPECT_NEAR(complexity(flat), std::log(4), 1e-12);
  EXPECT_TRUE(std::isnan(sparseness(std::vector<float>(4))));
  EXPECT_TRUE(std::isnan(complexity(std::vector<float>(4))));
}

TEST(MapMetrics, RankCorrelation) {
  const std::vector<float> a{1, 2, 3, 4}, monotone{-5, 0, 1, 100}, reversed{4, 3, 2, 1};
  EXPECT_NEAR(rank_correlation(a, monotone), 1, 1e-12);
  EXPECT_NEAR(rank_correlation(a, reversed), -1, 1e-12);
  // Ranks 1, 2.5, 2.5, 4 against 1..4: 4.5 / sqrt(4.5 * 5).
  EXPECT_NEAR(rank_correlation(std::vector<float>{0, 7, 7, 9}, a), 4.5 / std::sqrt(22.5), 1e-12);
  EXPECT_TRUE(std::isnan(rank_correlation(a, std::vector<float>(4, 1.f))));
}

// F = sum of w over the picture: every score of a replaced picture is known.
Scores linear(std::vector<float> w) {
  return [w](const Tensor& pictures) {
    const std::int64_t rows = pictures.shape()[0];
    const auto n = static_cast<std::int64_t>(w.size());
    Tensor result(Type{DType::f32, {rows}});
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        sum += w[static_cast<std::size_t>(i)] * pictures.item(r * n + i);
      }
      result.values<float>()[static_cast<std::size_t>(r)] = static_cast<float>(sum);
    }
    return result;
  };
}

TEST(Faithfulness, DeletionAndInsertionOfALinearScore) {
  const Tensor ones = Tensor::from<float>({1, 2, 2, 1}, {1, 1, 1, 1});
  const Tensor zeros = Tensor::zeros(ones.type());
  const Scores f = linear({1, 2, 3, 4});
  const Map exact = map_of(2, 2, {1, 2, 3, 4});
  // 10, 6, 3, 1, 0 at shares 0, 1/4, ..., 1.
  const Curve gone = deletion(f, ones, zeros, exact, 4);
  EXPECT_EQ(gone.score, (std::vector<double>{10, 6, 3, 1, 0}));
  EXPECT_EQ(gone.share, (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_DOUBLE_EQ(gone.area, (10. / 2 + 6 + 3 + 1 + 0) / 4);
  const Curve back = insertion(f, ones, zeros, exact, 4, 3);
  EXPECT_EQ(back.score, (std::vector<double>{0, 4, 7, 9, 10}));
  // The reverse order is the worst there is; chunks change nothing.
  const Map worst = map_of(2, 2, {-1, -2, -3, -4});
  EXPECT_DOUBLE_EQ(deletion(f, ones, zeros, worst, 4, 1).area, (10. / 2 + 9 + 7 + 4) / 4);
}

TEST(Faithfulness, InfidelityAgainstHandCounts) {
  // F = x0 - 2 x1, a map of zeros, changes (1,0) and (0,1).
  EXPECT_DOUBLE_EQ(infidelity({0, 0}, {1, -2}), 2.5);
  EXPECT_DOUBLE_EQ(infidelity({1, -2}, {1, -2}), 0);
  EXPECT_DOUBLE_EQ(normalised_infidelity({0, 0}, {1, -2}), 1);
  EXPECT_NEAR(normalised_infidelity({3, -6}, {1, -2}), 0, 1e-12) << "scale plays no part";
  EXPECT_DOUBLE_EQ(normalised_infidelity({-1, 2}, {1, -2}), 1) << "the sign does";
  EXPECT_TRUE(std::isnan(normalised_infidelity({1, 2}, {0, 0})));
  EXPECT_TRUE(std::isnan(normalised_infidelity_error({1}, {2})));
  EXPECT_NEAR(normalised_infidelity_error({3, -6, 9}, {1, -2, 3}), 0, 1e-12) << "nothing is left";
  // Leaving out one draw at a time (the jackknife) tells the same of many.
  PhiloxStream random(5);
  std::vector<double> promised, actual;
  for (int i = 0; i < 400; ++i) {
    const double common = random.normal();
    promised.push_back(common + random.normal());
    actual.push_back(common + 0.5 * random.normal());
  }
  double mean = 0, square = 0;
  for (std::size_t out = 0; out < 400; ++out) {
    std::vector<double> p = promised, a = actual;
    p.erase(p.begin() + static_cast<std::ptrdiff_t>(out));
    a.erase(a.begin() + static_cast<std::ptrdiff_t>(out));
    const double v = normalised_infidelity(p, a);
    mean += v / 400;
    square += v * v / 400;
  }
  const double jackknife = std::sqrt(399 * (square - mean * mean));
  EXPECT_NEAR(normalised_infidelity_error(promised, actual) / jackknife, 1, 0.05);
}

// relu(relu(a) - 1 - relu(b)) at (3,1) from (0,0): three midpoints see the slope (1,-1) once, which
// makes (1, -1/3), and the change is 1. Where the only change is the whole way to the baseline,
// infidelity is the square of what is missing.
TEST(Faithfulness, InfidelityOfIntegratedGradientsIsTheirResidualSquared) {
  explain::Explainer explainer(
      [](Tape&, Var image) {
        const Var both = reshape(image, {2});
        const auto column = [&](int c) { return slice(both, 1, c, c + 1); };
        return relu(sub(affine(relu(column(0)), 1, -1), relu(column(1))));
      },
      {1, 2, 1});
  const Tensor x = Tensor::from<float>({1, 1, 2, 1}, {3, 1}),
               first = Tensor::from<std::int64_t>({1}, {0});
  explain::ExplainOptions options;
  options.steps = 3;
  const explain::Attribution map = explainer.explain("integrated-gradients", x, first, options);
  EXPECT_NEAR(map.residual.item(), 1 - 2. / 3, 1e-6);
  const double promised = map.map.item(0) + map.map.item(1);
  const double change =
      explainer.logits(x).item() - explainer.logits(Tensor::zeros(x.type())).item();
  EXPECT_NEAR(infidelity({promised}, {change}), 1. / 9, 1e-6);
  // Within one linear region the gradient does not move.
  const MapOf saliency = [&](const Tensor& p) {
    return at_picture_size(explainer.explain("saliency", p, first).map, 1, 2);
  };
  EXPECT_EQ(max_sensitivity(saliency, x, saliency(x), 0.02, 8, 1), 0);
}

TEST(Faithfulness, ExactMapOfALinearScoreHasNoInfidelity) {
  std::vector<float> w, product;
  Tensor x(Type{DType::f32, {1, 8, 8, 1}});
  PhiloxStream random(3);
  for (std::size_t i = 0; i < 64; ++i) {
    w.push_back(random.uniform() - 0.5f);
    x.values<float>()[i] = random.uniform();
    product.push_back(w[i] * x.values<float>()[i]);
  }
  const Tensor zeros = Tensor::zeros(x.type());
  const Map exact = map_of(8, 8, product), noise = controls(x, 1)[0].map;
  EXPECT_LT(square_infidelity(linear(w), x, zeros, exact, 40, 5).value, 1e-6);
  EXPECT_GT(square_infidelity(linear(w), x, zeros, noise, 40, 5).value, 0.3);
  EXPECT_EQ(square_infidelity(linear(w), x, zeros, exact, 40, 5, 1).value,
            square_infidelity(linear(w), x, zeros, exact, 40, 5, 7).value);
  // The error is the spread over seeds, of a map that knows half.
  Map half = exact;
  for (std::size_t i = 0; i < half.values.size(); ++i) {
    if (i % 8 < 4) half.values[i] = noise.values[i] - 0.5f;
  }
  double sum = 0, squares = 0, told = 0;
  constexpr int kSeeds = 300;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Drawn one =
        square_infidelity(linear(w), x, zeros, half, 40, static_cast<std::uint64_t>(seed));
    sum += one.value / kSeeds;
    squares += one.value * one.value / kSeeds;
    told += one.standard_error / kSeeds;
  }
  const double spread = std::sqrt(squares - sum * sum);
  EXPECT_GT(told, 0.7 * spread);
  EXPECT_LT(told, 1.4 * spread);
}

TEST(Faithfulness, ImputationContinuesAPlane) {
  // A plane is its own weighted mean inside; at borders it is held by the pixels that are left.
  Tensor x(Type{DType::f32, {1, 9, 9, 2}});
  for (int y = 0; y < 9; ++y) {
    for (int c = 0; c < 9; ++c) {
      x.values<float>()[static_cast<std::size_t>((y * 9 + c) * 2)] = static_cast<float>(y + 2 * c);
      x.values<float>()[static_cast<std::size_t>((y * 9 + c) * 2 + 1)] = 5;
    }
  }
  std::vector<bool> removed(81);
  for (int y = 2; y < 7; ++y) {
    for (int c = 3; c < 7; ++c) removed[static_cast<std::size_t>(y * 9 + c)] = true;
  }
  const Tensor filled = imputed(x, removed, 7);
  double largest = 0;
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const double change = std::fabs(filled.item(i) - x.item(i));
    if (!removed[static_cast<std::size_t>(i / 2)]) {
      EXPECT_EQ(change, 0);
    }
    largest = std::max(largest, change);
  }
  EXPECT_GT(largest, 0.005) << "noise is added";
  EXPECT_LT(largest, 0.06) << "six deviations";
}

TEST(Faithfulness, RoadPrefersTheMapThatKnows) {
  // The score is the mean of one corner: a map of that corner knows, its negative misleads.
  std::vector<float> w(144);
  std::vector<float> corner(144);
  Tensor x(Type{DType::f32, {1, 12, 12, 1}});
  for (std::size_t i = 0; i < 144; ++i) {
    const bool in = i / 12 < 4 && i % 12 < 4;
    w[i] = in ? 1.f / 16 : 0;
    corner[i] = in ? 1 : 0;
    x.values<float>()[i] = in ? 1 : 0;
  }
  std::vector<float> wrong = corner;
  for (float& v : wrong) v = -v;
  const double knows = road(linear(w), x, map_of(12, 12, corner), 1);
  const double misleads = road(linear(w), x, map_of(12, 12, wrong), 1);
  EXPECT_GT(knows, 0.1);
  EXPECT_NEAR(misleads, -knows, 0.25);
  EXPECT_LT(misleads, 0);
}

TEST(Faithfulness, MaxSensitivity) {
  const Tensor x = Tensor::from<float>({1, 1, 2, 1}, {1, 3});
  const Map constant = map_of(1, 2, {1, 1});
  const MapOf same = [&](const Tensor&) { return constant; };
  EXPECT_EQ(max_sensitivity(same, x, constant, 0.1, 5, 1), 0);
  // The map is the picture: its change is at most radius * range * sqrt(2) over sqrt(10).
  const MapOf identity = [](const Tensor& p) {
    return Map(1, 2,
               std::vector<float>{static_cast<float>(p.item(0)), static_cast<float>(p.item(1))});
  };
  const double s = max_sensitivity(identity, x, map_of(1, 2, {1, 3}), 0.1, 200, 1);
  const double bound = 0.1 * 2 * std::sqrt(2) / std::sqrt(10);
  EXPECT_LE(s, bound * (1 + 1e-5));
  EXPECT_GT(s, 0.8 * bound);
  const Map nothing = map_of(1, 2, {0, 0});
  EXPECT_TRUE(std::isinf(max_sensitivity(identity, x, nothing, 0.1, 1, 1)));
}

TEST(Controls, KnowNothingOfTheModel) {
  Tensor x = Tensor::zeros({DType::f32, {1, 16, 16, 3}});
  for (std::size_t i = 0; i < 16 * 16 * 3; ++i) {
    if (i / 3 % 16 >= 8) x.values<float>()[i] = 1;  // a step from column 7 to 8
  }
  const std::vector<Control> all = controls(x, 4);
  ASSERT_EQ(all.size(), 3u);
  const Map &random = all[0].map, &centre = all[1].map, &edges = all[2].map;
  EXPECT_NE(random.values, controls(x, 5)[0].map.values);
  EXPECT_EQ(random.values, controls(x, 4)[0].map.values);
  EXPECT_EQ(centre.values[7 * 16 + 7], centre.values[8 * 16 + 8]);
  EXPECT_GT(centre.values[8 * 16 + 8], centre.values[0]);
  EXPECT_FLOAT_EQ(edges.values[5 * 16 + 7], 4) << "1 + 2 + 1";
  EXPECT_FLOAT_EQ(edges.values[5 * 16 + 2], 0);
  EXPECT_FLOAT_EQ(edges.values[0], 0) << "edges are repeated: the border is no edge";
}

TEST(Randomisation, LayersNearestTheOutputGoFirst) {
  ModelConfig config;
  config.name = "lenet";
  config.seed = 9;
  const auto model = make_model(config);
  std::vector<Tensor> before;
  for (const ParameterRef& p : model->parameters()) before.push_back(p->value.clone());
  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::equal(a.values<float>().begin(), a.values<float>().end(),
                      b.values<float>().begin());
  };
  const auto top = randomised(*model, 1, 0.01), all = randomised(*model, 1, 1);
  const auto trained = model->parameters(), one = top->parameters(), every = all->parameters();
  for (std::size_t i = 0; i < trained.size(); ++i) {
    EXPECT_TRUE(same(trained[i]->value, before[i])) << "the model itself is untouched";
    const bool last = trained[i]->name.substr(0, trained[i]->name.rfind('.')) ==
                      trained.back()->name.substr(0, trained.back()->name.rfind('.'));
    if (trained[i]->kind != Parameter::Kind::weight) continue;
    EXPECT_EQ(same(one[i]->value, trained[i]->value), !last) << trained[i]->name;
    EXPECT_FALSE(same(every[i]->value, trained[i]->value)) << trained[i]->name;
  }
}

TEST(PanelOfScores, MeanLeavesOutWhatDoesNotApply) {
  Panel a, b;
  a.values.assign(all_metrics().size(), 1.0);
  b.values.assign(all_metrics().size(), 3.0);
  b.values[2] = std::nan("");
  const PanelMean mean = mean_of({a, b});
  EXPECT_DOUBLE_EQ(mean.mean.values[0], 2);
  EXPECT_DOUBLE_EQ(mean.standard_error.values[0], 1) << "sqrt(2) / sqrt(2)";
  EXPECT_DOUBLE_EQ(mean.mean.values[2], 1);
  EXPECT_TRUE(std::isnan(mean.standard_error.values[2]));
  const std::string text = to_text({{"a-method", mean.mean}});
  EXPECT_NE(text.find("a-method"), std::string::npos);
}

}  // namespace
}  // namespace tapescope::quality
