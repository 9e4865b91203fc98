// TracIn against closed forms.
#include "autograd/explain/tracin.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/ops.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

ParameterRef make_parameter(const char* name, Tensor value) {
  return std::make_shared<Parameter>(name, std::move(value), Parameter::Kind::weight);
}

// Oracle O37: y = w x, the targets are the inputs, the loss is the square of the difference. Its
// gradient is 2 (w - 1) x^2, so that the score of (i, j) is i^2 j^2 times 4 sum_t (w_t - 1)^2.
TEST(TracIn, AModelOfOneWeight) {
  const auto w = make_parameter("w", Tensor::zeros({DType::f32, {1, 1}}));
  const ParameterRef parameters[] = {w};
  SampleGradients gradients(
      [&](Tape& tape) {
        const Var x = tape.input("x", DType::f32, {1, 1});
        return reduce_sum(square(sub(linear(x, tape.parameter(w)), x)), std::vector<int>{1});
      },
      parameters, {});
  constexpr int kExamples = 5;
  std::vector<std::vector<double>> scores(kExamples, std::vector<double>(kExamples));
  for (float at : {.4379f, .1653f, .5132f, .3651f, .9992f}) {
    w->value.values<float>()[0] = at;
    w->changed();
    std::vector<std::vector<float>> rows;
    for (int i = 1; i <= kExamples; ++i) {
      const std::vector<NamedTensor> inputs = {
          {"x", Tensor::from<float>({1, 1}, {static_cast<float>(i)})}};
      rows.push_back(gradients.of(inputs));
    }
    for (std::size_t i = 0; i < kExamples; ++i) {
      for (std::size_t j = 0; j < kExamples; ++j) {
        scores[i][j] += tracin_share(1, rows[i], rows[j]);
      }
    }
  }
  EXPECT_NEAR(scores[1][2], 237.99648816, 2e-4);
  for (int i = 1; i <= kExamples; ++i) {
    for (int j = 1; j <= kExamples; ++j) {
      const double want = 6.61101356 * i * i * j * j;
      EXPECT_NEAR(scores[static_cast<std::size_t>(i - 1)][static_cast<std::size_t>(j - 1)], want,
                  1e-6 * want);
    }
  }
}

// The gradient of a linear layer's weight is the outer product of what comes in and what comes
// back: its dot products are (a . a') (d . d'), d the loss's gradient at the layer's output.
TEST(TracIn, TheLastLayerIsAnOuterProduct) {
  PhiloxStream random(3);
  const auto filled = [&](Shape shape) {
    Tensor t(Type{DType::f32, shape});
    for (float& v : t.values<float>()) v = static_cast<float>(random.normal());
    return t;
  };
  const auto hidden = make_parameter("hidden", filled({4, 3}));
  const auto last = make_parameter("last", filled({2, 4}));
  const ParameterRef parameters[] = {last};
  SampleGradients gradients(
      [&](Tape& tape) {
        const Var x = tape.input("x", DType::f32, {1, 3});
        const Var logits = linear(relu(linear(x, tape.parameter(hidden))), tape.parameter(last));
        return log_softmax_nll(logits, tape.input("label", DType::i64, {1}));
      },
      parameters, {});
  const Tensor x[] = {filled({1, 3}), filled({1, 3})};
  const std::int64_t label[] = {0, 1};
  std::vector<float> rows[2];
  double a[2][4], d[2][2];
  for (int i = 0; i < 2; ++i) {
    const std::vector<NamedTensor> inputs = {
        {"x", x[i]}, {"label", Tensor::from<std::int64_t>({1}, {label[i]})}};
    rows[i] = gradients.of(inputs);
    double logits[2] = {0, 0};
    for (int k = 0; k < 4; ++k) {
      double sum = 0;
      for (int c = 0; c < 3; ++c) sum += hidden->value.item(k * 3 + c) * x[i].item(c);
      a[i][k] = std::max(0.0, sum);
      for (int o = 0; o < 2; ++o) logits[o] += last->value.item(o * 4 + k) * a[i][k];
    }
    const double p = 1 / (1 + std::exp(logits[1] - logits[0]));
    d[i][0] = p - (label[i] == 0 ? 1 : 0);
    d[i][1] = 1 - p - (label[i] == 1 ? 1 : 0);
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      double aa = 0, dd = 0;
      for (int k = 0; k < 4; ++k) aa += a[i][k] * a[j][k];
      for (int o = 0; o < 2; ++o) dd += d[i][o] * d[j][o];
      EXPECT_NEAR(tracin_share(0.1, rows[i], rows[j]), 0.1 * aa * dd, 1e-5);
    }
  }
  EXPECT_GE(tracin_share(1, rows[0], rows[0]), 0) << "nobody is an opponent of himself";
}

TEST(TracIn, RefusesWhatCannotBeCompared) {
  const std::vector<float> two = {1, 2}, three = {1, 2, 3};
  EXPECT_THROW(tracin_share(1, two, three), Error);
  EXPECT_THROW(SampleGradients([](Tape& tape) { return tape.scalar(1); }, {}, {}), Error);
}

}  // namespace
}  // namespace tapescope::explain
