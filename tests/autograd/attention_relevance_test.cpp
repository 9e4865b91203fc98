// Relevance through attention, against AttnLRP's formulas as plain loops in double (Achtibat et al.
// 2024, arXiv 2402.05602).
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"
#include "tests/autograd/explain_cases.h"

namespace tapescope::explain {
namespace {

constexpr std::size_t kRows = 3, kColumns = 2;
using Matrix = std::array<std::array<double, kRows>, kRows>;  // of which as much is used as needed

Matrix of(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  Matrix m{};
  for (std::size_t i = 0; i < rows * columns; ++i) m[i / columns][i % columns] = values[i];
  return m;
}

// R of a and b where c = a b, {rows, inner} by {inner, columns}: half of each product's share to
// either factor.
void share_product(const Matrix& a, const Matrix& b, const Matrix& r, std::size_t inner,
                   std::size_t columns, Matrix& to_a, Matrix& to_b) {
  to_a = to_b = {};
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      double c = 0;
      for (std::size_t k = 0; k < inner; ++k) c += a[i][k] * b[k][j];
      for (std::size_t k = 0; k < inner; ++k) {
        const double part = a[i][k] * b[k][j] / c * r[i][j] / 2;
        to_a[i][k] += part;
        to_b[k][j] += part;
      }
    }
  }
}

Matrix transposed(const Matrix& m) {
  Matrix t{};
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kRows; ++j) t[j][i] = m[i][j];
  }
  return t;
}

class Attention : public ::testing::Test {
 protected:
  Tape tape{Device::cpu(), Mode::evaluation};
  // softmax(q k^T) v of two samples, the second one's halved.
  Var q = input("q", {1, -.5f, .25f, 2, -1, .5f}), k = input("k", {.75f, 1, -1, 1.5f, 2, -.5f}),
      v = input("v", {1, .5f, -2, 1, .75f, 3});
  Var input(const char* name, std::vector<float> values) {
    for (std::size_t i = 0; i < kRows * kColumns; ++i) values.push_back(values[i] / 2);
    return tape.input(name, f32({2, kRows, kColumns}, values));
  }
  Var answer() { return batched_matmul(softmax(batched_matmul(q, k, false, true)), v); }
};

TEST_F(Attention, IsSharedAsAttnLrpShares) {
  const std::vector<float> seed_values = {1, 2, -1, .5f, 3, -2};
  std::vector<float> both = seed_values;
  both.insert(both.end(), seed_values.begin(), seed_values.end());
  const Var y = answer(), wrt[] = {q, k, v};
  const Var seed = tape.constant(f32({2, kRows, kColumns}, both));
  const std::vector<Var> relevance = explain::relevance(tape, y, wrt, lrp::epsilon(1e-9), seed);
  for (std::size_t sample = 0; sample < 2; ++sample) {
    const auto at = [&](Var x) {
      std::vector<float> all = numbers(x.value());
      const auto size = static_cast<std::ptrdiff_t>(kRows * kColumns);
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(sample) * size;
      return of({first, first + size}, kRows, kColumns);
    };
    const Matrix Q = at(q), K = at(k), V = at(v), R = of(seed_values, kRows, kColumns);
    Matrix scores{}, weights{};
    for (std::size_t i = 0; i < kRows; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < kRows; ++j) {
        for (std::size_t c = 0; c < kColumns; ++c) scores[i][j] += Q[i][c] * K[j][c];
        sum += std::exp(scores[i][j]);
      }
      for (std::size_t j = 0; j < kRows; ++j) weights[i][j] = std::exp(scores[i][j]) / sum;
    }
    Matrix to_weights, to_v, to_scores{}, to_q, to_k;
    share_product(weights, V, R, kRows, kColumns, to_weights, to_v);
    for (std::size_t i = 0; i < kRows; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < kRows; ++j) sum += to_weights[i][j];
      for (std::size_t j = 0; j < kRows; ++j) {
        to_scores[i][j] = scores[i][j] * (to_weights[i][j] - weights[i][j] * sum);
      }
    }
    share_product(Q, transposed(K), to_scores, kColumns, kRows, to_q, to_k);
    to_k = transposed(to_k);
    const Matrix* expected[] = {&to_q, &to_k, &to_v};
    for (std::size_t w = 0; w < 3; ++w) {
      const Matrix got = at(relevance[w]);
      for (std::size_t i = 0; i < kRows; ++i) {
        for (std::size_t c = 0; c < kColumns; ++c) {
          EXPECT_NEAR(got[i][c], (*expected[w])[i][c], 2e-5) << "operand " << w;
        }
      }
    }
  }
}

// Both products keep all relevance; what the softmax loses is told as the bias of its expansion.
TEST_F(Attention, TheLedgerTellsWhatTheSoftmaxLoses) {
  const Var y = row_sums(answer()), wrt[] = {q, k, v};
  Ledger ledger;
  explain::relevance(tape, y, wrt, lrp::epsilon(), {}, &ledger);
  double lost = 0;
  for (std::int64_t n = 0; n < 2; ++n) {
    double left = ledger.seed.value().item(n) - ledger.reached.value().item(n);
    for (const LedgerRow& row : ledger.rows) {
      const double bias = row.bias.value().item(n);
      const double taken = bias + row.stabiliser.value().item(n) + row.empty.value().item(n);
      left -= taken;
      EXPECT_NEAR(row.arrived.value().item(n), row.passed_on.value().item(n) + taken, 1e-5)
          << row.path;
      if (row.rule == "expansion") {
        lost += std::abs(bias);
      } else {
        EXPECT_NEAR(bias, 0, 1e-6) << row.path;
      }
    }
    EXPECT_NEAR(left, 0, 1e-5);
  }
  EXPECT_GT(lost, .1);
}

TEST_F(Attention, ALogSoftmaxIsNoSoftmax) {
  Composite composite("only softmax");
  composite.on(relevance_class(RelevanceClass::normaliser), rules::expansion());
  const Var y = row_sums(log_softmax(q)), wrt[] = {q};
  EXPECT_THROW(explain::relevance(tape, y, wrt, with_defaults(composite)), Error);
}

}  // namespace
}  // namespace tapescope::explain
