// Structure, parameters and activations of models, against figures worked out by hand or published.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/philox.h"
#include "layers/layers.h"
#include "layers/models/zoo.h"
#include "tools/inspection/activations.h"
#include "tools/inspection/parameters.h"
#include "tools/inspection/pulse.h"
#include "tools/inspection/structure_graph.h"

namespace tapescope::inspection {
namespace {

Record record_of(Classifier& model) {
  return [&model](Tape&, Var image) { return std::vector{model({{"image", image}}).at("logits")}; };
}

const StructureRow& row_at(const Structure& structure, const std::string& path) {
  for (const StructureRow& row : structure.rows) {
    if (row.path == path) return row;
  }
  throw usage_error("no row {}", path);
}

// torchinfo's single-input CNN: conv 1->10 5x5, pool, conv 10->20 5x5, pool, 320->50, 50->10.
class TorchinfoNet final : public Classifier {
 public:
  TorchinfoNet() : Classifier({.name = "torchinfo", .classes = 10, .channels = 1}) {}
  Var logits(Var x) const override {
    x = relu(max_pool2d(conv1_(x), {}));
    x = relu(max_pool2d(conv2_(x), {}));
    return fc2_(relu(fc1_(flatten(x))));
  }

 private:
  Conv2d conv1_{*this, "conv1", 1, 10, 5}, conv2_{*this, "conv2", 10, 20, 5};
  Linear fc1_{*this, "fc1", 320, 50}, fc2_{*this, "fc2", 50, 10};
};

TEST(Structure, EqualsTorchinfosCounts) {
  TorchinfoNet net;
  const Structure s = structure_of(record_of(net), {28, 28, 1}, {});
  EXPECT_EQ(s.totals.parameters, 21840);
  const std::pair<const char*, std::pair<int, double>> expected[] = {
      {"conv1/conv2d", {260, 144000}},
      {"conv2/conv2d", {5020, 320000}},
      {"fc1/matmul", {16050, 16000}},
      {"fc2/matmul", {510, 500}}};
  double with_bias = 0;
  for (const auto& [path, counts] : expected) {
    const StructureRow& row = row_at(s, path);
    EXPECT_EQ(row.parameters, counts.first) << path;
    EXPECT_EQ(row.macs, counts.second) << path;
    // torchinfo counts the bias as one more multiply-add an output, and a batch of 7.
    const double outputs = static_cast<double>(row.output.shape.elements());
    with_bias += 7 * (row.macs + outputs);
  }
  EXPECT_EQ(with_bias, 1048320 + 2248960 + 112350 + 3570);
  EXPECT_EQ(s.input_bytes * 7, 21952);
}

TEST(Structure, KnowsResNet18) {
  const auto model =
      make_model({.name = "resnet18", .classes = 1000, .channels = 3, .image_size = 224});
  const Structure s = structure_of(record_of(*model), {224, 224, 3}, {});
  EXPECT_EQ(s.totals.parameters, 11689512);
  EXPECT_EQ(s.totals.macs, 1814073344.0);
  // Araujo et al. 2019, "Computing receptive fields": 435 pixels for the last feature map.
  const StructureRow& last = row_at(s, "layer4/1/relu#2");
  EXPECT_EQ(last.field_h, 435);
  EXPECT_EQ(last.field_w, 435);
  EXPECT_EQ(last.jump_h, 32);
  EXPECT_EQ(row_at(s, "fc/matmul").field_h, -1);
  // Modules: their sums are their rows' sums, and the top ones' sums with the loose rows' the
  // total.
  double top = 0;
  for (const ModuleRow& module : s.modules) {
    double macs = 0;
    for (int i = module.first; i < module.first + module.count; ++i) {
      macs += s.rows[static_cast<std::size_t>(i)].macs;
    }
    EXPECT_EQ(module.macs, macs) << module.path;
    if (module.depth == 0) top += module.macs;
  }
  EXPECT_EQ(top, s.totals.macs);
}

// A chain whose saved values can be counted by hand: y = W2 relu(W1 x).
class TwoLayers final : public Classifier {
 public:
  explicit TwoLayers(bool again = false)
      : Classifier({.name = "two", .classes = 5, .channels = 1, .image_size = 2}), again_(again) {}
  Var logits(Var x) const override {
    x = relu(first_(flatten(x)));
    if (again_) x = relu(first_(x));
    return second_(x);
  }

 private:
  Linear first_{*this, "first", 4, 4}, second_{*this, "second", 4, 5};
  bool again_;
};

TEST(Structure, SavedBytesAreWhatTheBackwardPassReads) {
  TwoLayers net;
  const Structure s = structure_of(record_of(net), {2, 2, 1}, {});
  // The gradient of W1 reads x (4 numbers), relu's and that of W2 read relu's result (4): 32 bytes.
  // Neither the first product nor the logits are read.
  EXPECT_EQ(s.totals.saved_bytes, 32);
  EXPECT_EQ(row_at(s, "second/matmul").saved_bytes, 0);
}

TEST(Structure, ALayerUsedTwiceIsTwoRowsAndCountedOnce) {
  TwoLayers once, twice(true);
  const Structure a = structure_of(record_of(once), {2, 2, 1}, {});
  const Structure b = structure_of(record_of(twice), {2, 2, 1}, {});
  EXPECT_EQ(a.totals.parameters, b.totals.parameters);
  EXPECT_EQ(b.totals.macs, a.totals.macs + 16);
  EXPECT_EQ(row_at(b, "first/matmul#2").uses, 2);
  EXPECT_EQ(row_at(b, "first/matmul#2").parameters, 0);
  EXPECT_NE(a.hash, b.hash);
  TwoLayers again;
  EXPECT_EQ(a.hash, structure_of(record_of(again), {2, 2, 1}, {}).hash);
  EXPECT_EQ(diff(a, a), "");
  EXPECT_NE(diff(a, b).find("+ first/matmul#2"), std::string::npos);
}

TEST(Structure, IsDrawnAndTimed) {
  const auto model =
      make_model({.name = "resnet20", .classes = 3, .channels = 3, .image_size = 16});
  const Structure s = structure_of(record_of(*model), {16, 16, 3},
                                   {.backend = {}, .measure_batch = 2, .repeats = 1});
  EXPECT_GT(s.totals.forward_seconds, 0);
  EXPECT_GT(s.totals.backward_seconds, 0);
  for (const StructureRow& row : s.rows) EXPECT_FALSE(row.variant.empty()) << row.path;
  const std::string dot = to_dot(s, "macs"), svg = to_svg(s, "forward_seconds");
  EXPECT_NE(dot.find("layer1/0/add"), std::string::npos);
  EXPECT_NE(svg.find("layer1/0/add"), std::string::npos);
  EXPECT_THROW(to_dot(s, "beauty"), Error);
}

TEST(Parameters, NumbersLeaveOutWhatIsNotFinite) {
  const float values[] = {0, 1, -3, NAN, 2, INFINITY, 0};
  const Numbers n = numbers_of(values);
  EXPECT_EQ(n.count, 7);
  EXPECT_EQ(n.zeros, 2);
  EXPECT_EQ(n.nans, 1);
  EXPECT_EQ(n.infinities, 1);
  EXPECT_DOUBLE_EQ(n.mean, 0);
  EXPECT_DOUBLE_EQ(n.std, std::sqrt(14.0 / 5));
  EXPECT_DOUBLE_EQ(n.min, -3);
  EXPECT_DOUBLE_EQ(n.max, 2);
  EXPECT_DOUBLE_EQ(n.l1, 6);
  EXPECT_DOUBLE_EQ(n.l2, std::sqrt(14.0));
  EXPECT_DOUBLE_EQ(n.linf, 3);
}

TEST(Parameters, OneWildValueDoesNotSpoilAHistogram) {
  std::vector<float> values;
  PhiloxStream random(1);
  for (int i = 0; i < 5000; ++i) values.push_back(static_cast<float>(random.uniform()));
  values.push_back(1e30f);
  values.push_back(NAN);
  const Histogram h = histogram_of(values);
  EXPECT_GE(h.low, 0);
  EXPECT_LE(h.high, 1);
  EXPECT_EQ(h.not_finite, 1);
  EXPECT_GE(h.above, 1);
  EXPECT_EQ(h.total() + h.below + h.above + h.not_finite, 5002);
}

TEST(Parameters, SpectrumOfAKnownMatrix) {
  // diag(3, 2, 1) in a 3x4 matrix.
  const float matrix[] = {3, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0};
  const Spectrum s = spectrum_of(matrix, 3, 4);
  EXPECT_NEAR(s.norm, 3, 1e-12);
  EXPECT_NEAR(s.stable_rank, 14.0 / 9, 1e-12);
  EXPECT_NEAR(s.condition, 3, 1e-9);
  const double p[] = {3 / 6., 2 / 6., 1 / 6.};
  double entropy = 0;
  for (double v : p) entropy -= v * std::log(v);
  EXPECT_NEAR(s.effective_rank, std::exp(entropy), 1e-12);
  EXPECT_EQ(s.alpha, 0) << "three eigenvalues are no distribution";
}

TEST(Parameters, FindsAPowerLawsExponent) {
  // Quantiles of a Pareto distribution of density ~ x^-alpha, beginning at 2.
  for (const double alpha : {2.5, 4.0}) {
    std::vector<double> values;
    for (int i = 0; i < 400; ++i) {
      values.push_back(2 * std::pow(1 - (i + 0.5) / 400, -1 / (alpha - 1)));
    }
    const PowerLaw law = power_law(values);
    EXPECT_NEAR(law.alpha, alpha, 0.1 * alpha);
    EXPECT_LT(law.distance, 0.03);
  }
}

TEST(Parameters, FindsDeadAndLikeFiltersAndTheWayFromTheStart) {
  const auto make = [](std::vector<float> v) {
    return std::make_shared<Parameter>("conv.weight", Tensor::from<float>({4, 1, 2, 1}, v),
                                       Parameter::Kind::weight);
  };
  const ParameterRef now = make({1, 2, 2, 4.1f, 0, 0, -2, 1});
  const ParameterRef before = make({1, 2, 2, 4.1f, 1, 0, -2, 1});
  const auto rows = parameters_of(std::vector{now}, std::vector{before});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].dead, 1);
  EXPECT_TRUE(rows[0].channels[2].dead);
  EXPECT_EQ(rows[0].near_duplicates, 1);
  EXPECT_EQ(rows[0].channels[1].near_duplicate, 0);
  const double norm = std::sqrt(1 + 4 + 4 + 4.1f * 4.1f + 1 + 4 + 1);
  EXPECT_NEAR(rows[0].distance, 1 / norm, 1e-6);
}

// One relu over four channels, fed by a convolution 1x1 of one input channel.
Record planted_relu() {
  return [](Tape& tape, Var image) {
    const Var weight =
        tape.constant(Tensor::from<float>({4, 1, 1, 1}, std::vector<float>{1, -1, 1, 1}));
    const Var bias = tape.constant(Tensor::from<float>({4}, std::vector<float>{0, 0, -9, 9}));
    return std::vector{global_avg_pool2d(relu(conv2d(image, weight, bias, {})))};
  };
}

Tensor ramp(std::int64_t images) {  // values -1 .. 1 in every image
  Tensor x(Type{DType::f32, {images, 4, 4, 1}});
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    x.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(i % 16) / 7.5f - 1;
  }
  return x;
}

TEST(Activations, CountsDeadAndAlwaysOnUnits) {
  ActivationProbe probe(planted_relu(), {4, 4, 1}, {.backend = {}, .batch_size = 2});
  const std::int64_t indices[] = {7, 8, 9};
  probe.add(ramp(3), indices);
  const std::vector<ActivationRow> rows = probe.rows();
  ASSERT_EQ(rows.size(), 1u);
  const ActivationRow& row = rows[0];
  EXPECT_EQ(row.op, "relu");
  EXPECT_EQ(row.units.size(), 4u);
  EXPECT_EQ(row.dead, 1);       // bias -9
  EXPECT_EQ(row.always_on, 1);  // bias 9
  EXPECT_EQ(row.near_dead, 0);
  // Half of units 0 and 1, all of unit 2, none of unit 3.
  EXPECT_NEAR(row.zero_fraction, 0.5, 1e-12);
  EXPECT_NEAR(row.units[0].active, 0.5, 1e-12);
  EXPECT_NEAR(row.units[0].max, 1, 1e-6);
  EXPECT_NEAR(row.input.mean, 0, 1e-5);
  ASSERT_EQ(row.units[0].top.size(), 3u);
  EXPECT_EQ(row.units[0].top[0].index, 7);  // all alike: the first comes first
  // Slope and function from the op itself.
  for (std::size_t i = 0; i < row.curve_x.size(); ++i) {
    EXPECT_EQ(row.curve_y[i], std::max(0.0, row.curve_x[i]));
    EXPECT_EQ(row.curve_slope[i], row.curve_x[i] > 0 ? 1 : 0);
  }
  EXPECT_NE(curve_svg(row).find("</svg>"), std::string::npos);
  EXPECT_EQ(probe.rows()[0].input.count, 0) << "a new sample";
}

TEST(Activations, MomentsJoinAsIfTheyWereOne) {
  std::vector<float> values;
  PhiloxStream random(3);
  for (int i = 0; i < 999; ++i)
    values.push_back(static_cast<float>(random.uniform() * random.uniform()));
  Moments joined;
  joined.add(std::span(values).first(100));
  joined.add(std::span(values).subspan(100, 1));
  joined.add(std::span(values).subspan(101));
  double mean = 0, m2 = 0, m4 = 0;
  for (float v : values) mean += v / 999.0;
  for (float v : values) {
    m2 += std::pow(v - mean, 2) / 999;
    m4 += std::pow(v - mean, 4) / 999;
  }
  EXPECT_NEAR(joined.mean, mean, 1e-12);
  EXPECT_NEAR(joined.std(), std::sqrt(m2), 1e-12);
  EXPECT_NEAR(joined.kurtosis(), m4 / (m2 * m2) - 3, 1e-9);
}

TEST(Activations, SaturationOfTanhAgreesInBothProbes) {
  const Record record = [](Tape&, Var image) {
    return std::vector{flatten(tanh(affine(image, 4)))};
  };
  ActivationProbe probe(record, {4, 4, 1}, {});
  probe.add(ramp(2));
  const ActivationRow row = probe.rows()[0];
  // tanh' < 0.05 where |4 z| > atanh(sqrt(0.95)) = 2.1785: |z| > 0.5446.
  double expected = 0;
  const Tensor values = ramp(1);
  for (float v : values.values<float>()) expected += std::abs(v) > 0.5446 ? 1 / 16. : 0;
  EXPECT_NEAR(row.saturated_fraction, expected, 1e-9);
  const Pulse pulse = PulseProbe(record, {4, 4, 1}, {}).measure(ramp(2));
  ASSERT_EQ(pulse.activations.size(), 1u);
  EXPECT_NEAR(pulse.activations[0].saturated_fraction, expected, 1e-6);
  EXPECT_NEAR(pulse.activations[0].input_std, row.input.std(), 1e-5);
}

TEST(Activations, PulseSeesDeadUnitsAndDrift) {
  const Pulse pulse = PulseProbe(planted_relu(), {4, 4, 1}, {}).measure(ramp(2));
  ASSERT_EQ(pulse.activations.size(), 1u);
  EXPECT_EQ(pulse.activations[0].dead, 1);
  EXPECT_EQ(pulse.activations[0].units, 4);
  EXPECT_NEAR(pulse.activations[0].zero_fraction, 0.5, 1e-6);

  const auto model = make_model({.name = "resnet20", .classes = 2, .channels = 1, .image_size = 8});
  Tensor images(Type{DType::f32, {4, 8, 8, 1}});
  PhiloxStream random(5);
  for (float& v : images.values<float>()) v = static_cast<float>(random.uniform());
  const auto first_drift = [&] {
    return PulseProbe(record_of(*model), {8, 8, 1}, {}).measure(images).norms.at(0);
  };
  // By hand: the first norm's input is the first convolution of the images.
  for (const ParameterRef& parameter : model->parameters()) {
    if (parameter->name != "bn1.running_mean") continue;
    const double before = first_drift().mean_shift;
    for (float& v : parameter->value.values<float>()) v += 100;
    parameter->changed();
    EXPECT_GT(first_drift().mean_shift, before + 50);
  }
  // Norms that are frozen keep their statistics on purpose: nothing is told of them.
  const auto told = [&] {
    return PulseProbe(record_of(*model), {8, 8, 1}, {}).measure(images).norms.size();
  };
  const std::size_t all = told();
  for (const ParameterRef& parameter : model->parameters()) {
    parameter->frozen = parameter->frozen || parameter->name.starts_with("bn1.");
  }
  EXPECT_EQ(told(), all - 1);
}

TEST(Activations, SwappingChangesWhatFollows) {
  const auto swapped_value = [](const std::string& from, const std::string& to, bool twice) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", Tensor::from<float>({1, 3}, std::vector<float>{-1, 0.5f, 2}));
    Var y = sum(relu(x));
    if (twice) y = sum(relu(add(relu(x), y)));
    return swapped(std::vector{y}, from, to)[0].value().item();
  };
  const auto gelu_of = [](double v) { return v * 0.5 * (1 + std::erf(v / std::sqrt(2.0))); };
  EXPECT_NEAR(swapped_value("relu", "gelu", false), gelu_of(-1) + gelu_of(0.5) + gelu_of(2), 1e-5);
  double inner = 0, outer = 0;
  for (double v : {-1., 0.5, 2.}) inner += gelu_of(v);
  for (double v : {-1., 0.5, 2.}) outer += gelu_of(gelu_of(v) + inner);
  EXPECT_NEAR(swapped_value("relu", "gelu", true), outer, 1e-5);
  EXPECT_THROW(swapped_value("tanh", "gelu", false), Error);
  EXPECT_THROW(swapped_value("relu", "selu", false), Error);
}

TEST(Activations, FeatureMapsAreOfTheNodeThatIsNamed) {
  const auto model = make_model({.name = "lenet", .classes = 2, .channels = 1, .image_size = 12});
  const Tensor image = Tensor::full({DType::f32, {1, 12, 12, 1}}, 0.5);
  const std::vector<Image> maps = feature_maps(record_of(*model), "conv1/relu", image, {}, 5);
  ASSERT_EQ(maps.size(), 5u);
  EXPECT_EQ(maps[0].height, 12);
  EXPECT_THROW(feature_maps(record_of(*model), "fc1/relu", image, {}), Error);
  EXPECT_THROW(feature_maps(record_of(*model), "conv9", image, {}), Error);
}

}  // namespace
}  // namespace tapescope::inspection
