// Losses and their gradients against closed forms worked out in double precision.
#include "layers/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/tape.h"

namespace tapescope {
namespace {

constexpr int kRows = 3, kClasses = 4;
const std::vector<float> kLogits = {0.3f,  -1.2f, 2.0f,  0.1f, 5.0f, 4.5f,
                                    -3.0f, 0.0f,  -0.7f, 0.2f, 0.2f, 1.1f};
const std::vector<std::int64_t> kLabels = {2, 1, 0};

struct Row {
  std::vector<double> p;  // softmax
  int label;
};

std::vector<Row> rows() {
  std::vector<Row> result;
  for (int n = 0; n < kRows; ++n) {
    Row row{std::vector<double>(kClasses), static_cast<int>(kLabels[static_cast<std::size_t>(n)])};
    double total = 0;
    for (int c = 0; c < kClasses; ++c) {
      row.p[static_cast<std::size_t>(c)] =
          std::exp(static_cast<double>(kLogits[static_cast<std::size_t>(n * kClasses + c)]));
      total += row.p[static_cast<std::size_t>(c)];
    }
    for (double& p : row.p) p /= total;
    result.push_back(row);
  }
  return result;
}

using Recorded = std::function<Var(Var logits, Var label)>;

// value(row), slope(row, c): the loss and its derivative by logit c.
void check(const Recorded& loss, const std::function<double(const Row&)>& value,
           const std::function<double(const Row&, int)>& slope) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var logits =
      tape.input("logits", Tensor::from<float>({kRows, kClasses}, std::span<const float>(kLogits)));
  const Var label = tape.input(
      "label", Tensor::from<std::int64_t>({kRows}, std::span<const std::int64_t>(kLabels)));
  const Var each = loss(logits, label);
  ASSERT_EQ(each.shape(), (Shape{kRows}));
  const Tensor gradient = tape.gradient(each, {logits})[0].value();
  const std::vector<Row> expected = rows();
  for (int n = 0; n < kRows; ++n) {
    const Row& row = expected[static_cast<std::size_t>(n)];
    EXPECT_NEAR(each.value().item(n), value(row), 2e-6 * (1 + value(row))) << "row " << n;
    for (int c = 0; c < kClasses; ++c) {
      EXPECT_NEAR(gradient.item(n * kClasses + c), slope(row, c), 2e-6) << n << ", " << c;
    }
  }
}

double hit(const Row& row, int c) { return row.label == c ? 1 : 0; }
double at_label(const Row& row) { return row.p[static_cast<std::size_t>(row.label)]; }
double at(const Row& row, int c) { return row.p[static_cast<std::size_t>(c)]; }

TEST(Losses, NegativeLogLikelihood) {
  check([](Var logits, Var label) { return nll_loss(log_softmax(logits), label); },
        [](const Row& row) { return -std::log(at_label(row)); },
        [](const Row& row, int c) { return at(row, c) - hit(row, c); });
}

TEST(Losses, SmoothedCrossEntropyIsCrossEntropyWithSmoothedTargets) {
  for (const double smoothing : {0.0, 0.1, 0.9}) {
    const auto target = [=](const Row& row, int c) {
      return (1 - smoothing) * hit(row, c) + smoothing / kClasses;
    };
    check([=](Var logits, Var label) { return cross_entropy(logits, label, smoothing); },
          [=](const Row& row) {
            double loss = 0;
            for (int c = 0; c < kClasses; ++c) loss -= target(row, c) * std::log(at(row, c));
            return loss;
          },
          [=](const Row& row, int c) { return at(row, c) - target(row, c); });
  }
}

TEST(Losses, Focal) {
  const double alpha[kClasses] = {0.25, 0.75, 1.5, 1};
  for (const double gamma : {0.0, 0.5, 1.0, 2.0, 3.5}) {
    for (const bool weighted : {false, true}) {
      const auto weight = [&](const Row& row) { return weighted ? alpha[row.label] : 1.0; };
      check(
          [&](Var logits, Var label) {
            const Var weights =
                weighted ? logits.tape().constant(Tensor::from<float>({4}, {.25f, .75f, 1.5f, 1}))
                         : Var{};
            return focal_loss(logits, label, gamma, weights);
          },
          [&](const Row& row) {
            const double p = at_label(row);
            return -weight(row) * std::pow(1 - p, gamma) * std::log(p);
          },
          // dL/dp = gamma (1-p)^(gamma-1) log p - (1-p)^gamma / p and dp/dz_c = p (hit - p_c)
          [&](const Row& row, int c) {
            const double p = at_label(row);
            return weight(row) *
                   (gamma * std::pow(1 - p, gamma - 1) * p * std::log(p) - std::pow(1 - p, gamma)) *
                   (hit(row, c) - at(row, c));
          });
    }
  }
}

TEST(Losses, StayFiniteAtTheEnds) {
  for (const double gamma : {0.0, 0.5, 1.0, 1.5, 2.0}) {
    for (const float size : {20.f, 100.f, 1e4f, 1e30f}) {
      for (const std::int64_t label : {0, 1}) {  // certainly right, certainly wrong
        Tape tape(Device::cpu(), Mode::evaluation);
        const Var logits = tape.input("logits", Tensor::from<float>({1, 2}, {size, -size}));
        const Var index = tape.input("label", Tensor::from<std::int64_t>({1}, {label}));
        const Var loss = focal_loss(logits, index, gamma);
        const double want = label == 0 ? 0 : 2.0 * static_cast<double>(size);
        EXPECT_NEAR(loss.value().item(), want, 1e-5 * want + 1e-7);
        const Tensor gradient = tape.gradient(loss, {logits})[0].value();
        const double slope = label == 0 ? 0 : 1;
        EXPECT_NEAR(gradient.item(0), slope, 1e-3) << gamma << ' ' << size << ' ' << label;
        EXPECT_NEAR(gradient.item(1), -slope, 1e-3) << gamma << ' ' << size << ' ' << label;
      }
    }
  }
}

// Value -t log s - (1 - t) log(1 - s), slopes s - t by the logit and -z by the target, curvature
// s (1 - s); and no infinity where the answer is certain.
TEST(Losses, BinaryCrossEntropy) {
  const std::vector<float> logits = {0, 0.7f, -2.5f, 6, -6, 1.25f},
                           targets = {1, 0, 1, 0.25f, 0, 1};
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var z = tape.input("logits", Tensor::from<float>({2, 3}, std::span<const float>(logits)));
  const Var t = tape.input("targets", Tensor::from<float>({2, 3}, std::span<const float>(targets)));
  const Var loss = binary_cross_entropy(z, t);
  const std::vector<Var> slopes = tape.gradient(loss, {z, t});
  const Var curvature = tape.gradient(slopes[0], {z})[0];
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double x = logits[i], target = targets[i], s = 1 / (1 + std::exp(-x));
    const auto at = static_cast<std::int64_t>(i);
    EXPECT_NEAR(loss.value().item(at), -target * std::log(s) - (1 - target) * std::log(1 - s),
                2e-6);
    EXPECT_NEAR(slopes[0].value().item(at), s - target, 1e-6);
    EXPECT_NEAR(slopes[1].value().item(at), -x, 1e-6);
    EXPECT_NEAR(curvature.value().item(at), s * (1 - s), 1e-6);
  }
  for (const float size : {50.f, 1e4f, 1e30f}) {
    Tape certain(Device::cpu(), Mode::evaluation);
    const Var sure = certain.input("sure", Tensor::from<float>({4}, {size, size, -size, -size}));
    const Var truth = certain.input("truth", Tensor::from<float>({4}, {1, 0, 1, 0}));
    const Tensor cost = binary_cross_entropy(sure, truth).value();
    for (int i = 0; i < 4; ++i) {
      const double want = i == 0 || i == 3 ? 0 : double{size};
      EXPECT_NEAR(cost.item(i), want, 1e-5 * want + 1e-6) << size << " " << i;
    }
  }
}

TEST(Losses, Errors) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var logits = tape.input("logits", Tensor::zeros({DType::f32, {2, 3}}));
  const Var label = tape.input("label", Tensor::from<std::int64_t>({2}, {0, 2}));
  const Var outside = tape.input("outside", Tensor::from<std::int64_t>({2}, {0, 3}));
  const Var short_label = tape.input("short", Tensor::from<std::int64_t>({1}, {0}));
  EXPECT_THROW(cross_entropy(logits, label, 1), Error);
  EXPECT_THROW(cross_entropy(logits, label, -0.1), Error);
  EXPECT_THROW(focal_loss(logits, label, -1), Error);
  EXPECT_THROW(focal_loss(logits, label, std::nan("")), Error);
  EXPECT_THROW(cross_entropy(logits, outside), Error);
  EXPECT_THROW(cross_entropy(logits, short_label), Error);
}

}  // namespace
}  // namespace tapescope
