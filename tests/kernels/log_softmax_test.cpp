#include "kernels/log_softmax/log_softmax.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

using Rows = std::vector<float>;

// log(p) = x_c - log(sum_k exp(x_k)) by a running log-add, no maximum subtracted.
std::vector<double> direct_log_softmax(std::int64_t rows, std::int64_t C, const Rows& x) {
  std::vector<double> y(x.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    double total = -INFINITY;
    for (std::int64_t c = 0; c < C; ++c) {
      const double v = static_cast<double>(x[static_cast<std::size_t>(r * C + c)]);
      const double high = std::max(total, v), low = std::min(total, v);
      total = high + std::log1p(std::exp(low - high));
    }
    for (std::int64_t c = 0; c < C; ++c) {
      const auto i = static_cast<std::size_t>(r * C + c);
      y[i] = static_cast<double>(x[i]) - total;
    }
  }
  return y;
}

template <class F>
void compare(const Variants<SoftmaxShape>& table, const SoftmaxShape& s,
             std::vector<const void*> in, F&& expected, double tolerance) {
  for (const char* variant : {"reference", "simd"}) {
    SCOPED_TRACE(std::string(table.family) + " " + variant);
    Rows first;
    for_threads([&] {
      auto y = poisoned(s.rows * s.C);
      run(prepare(table, variant, s), in, {y.data()});
      if (first.empty()) first = y;
      expect_same_bits(y, first);
    });
    for (std::size_t i = 0; i < first.size(); ++i) {
      ASSERT_TRUE(close(first[i], expected(i), tolerance)) << "element " << i;
    }
  }
}

void check(std::int64_t rows, std::int64_t C) {
  SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(C));
  const SoftmaxShape s{DType::f32, rows, C};
  const Rows x = random_values(rows * C, 1, -20, 20), dy = random_values(rows * C, 2);
  const auto log_p = direct_log_softmax(rows, C, x);
  Rows y(x.size()), p(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = static_cast<float>(log_p[i]);
    p[i] = static_cast<float>(std::exp(log_p[i]));
  }
  compare(
      log_softmax_variants(), s, {x.data()}, [&](std::size_t i) { return log_p[i]; }, 8e-6);
  compare(
      softmax_variants(), s, {x.data()}, [&](std::size_t i) { return std::exp(log_p[i]); }, 1e-6);
  // dx_c = sum_k dy_k dy_k/dx_c, from the Jacobians I - 1 p^T and diag(p) - p p^T.
  const auto jacobian = [&](std::size_t i, bool logarithm) {
    const std::int64_t r = static_cast<std::int64_t>(i) / C;
    const double own = std::exp(static_cast<double>(y[i]));
    double sum = 0;
    for (std::int64_t k = 0; k < C; ++k) {
      const auto j = static_cast<std::size_t>(r * C + k);
      const double same = i == j ? 1 : 0;
      const double entry =
          logarithm ? same - own : static_cast<double>(p[j]) * (same - static_cast<double>(p[i]));
      sum += static_cast<double>(dy[j]) * entry;
    }
    return sum;
  };
  if (rows * C * C > 3'000'000) return;
  compare(
      log_softmax_gradient_variants(), s, {dy.data(), y.data()},
      [&](std::size_t i) { return jacobian(i, true); }, 1e-6 * (4 + static_cast<double>(C) / 16));
  compare(
      softmax_gradient_variants(), s, {dy.data(), p.data()},
      [&](std::size_t i) { return jacobian(i, false); }, 1e-6);
}

TEST(Softmax, AgreesWithDirectComputation) {
  for_each_isa([] {
    check(0, 5);
    check(1, 1);
    check(3, 2);
    check(700, 10);
    check(33, 16);
    check(21, 17);
    check(5, 100);
    check(3, 1000);
    check(2, 5003);
    check(20011, 3);
  });
}

TEST(Softmax, LargeValuesDoNotOverflow) {
  const Rows x = {1e4f, 1e4f - 1, -1e30f};
  for (const char* variant : {"reference", "simd"}) {
    Rows y(3);
    run(prepare(log_softmax_variants(), variant, {DType::f32, 1, 3}), {x.data()}, {y.data()});
    EXPECT_NEAR(y[0], -0.3132617, 1e-6);
    EXPECT_NEAR(y[1], -1.3132617, 1e-6);
    EXPECT_FLOAT_EQ(y[2], -1e30f);
    run(prepare(softmax_variants(), variant, {DType::f32, 1, 3}), {x.data()}, {y.data()});
    EXPECT_EQ(y[2], 0);
  }
}

TEST(Softmax, NanIsSeen) {
  Rows x(40, 0.5f);
  x[33] = NAN;
  for (const char* variant : {"reference", "simd"}) {
    Rows y(40);
    run(prepare(log_softmax_variants(), variant, {DType::f32, 2, 20}), {x.data()}, {y.data()});
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(y[i]), i >= 20) << variant;
  }
}

TEST(Softmax, ARowDoesNotDependOnTheNumberOfRows) {
  for_each_isa([] {
    for (std::int64_t C : {10, 37}) {
      const Rows x = random_values(7 * C, 4, -5, 5);
      auto all = poisoned(7 * C);
      run(prepare(softmax_variants(), "simd", {DType::f32, 7, C}), {x.data()}, {all.data()});
      for (std::int64_t r = 0; r < 7; ++r) {
        auto one = poisoned(C);
        run(prepare(softmax_variants(), "simd", {DType::f32, 1, C}), {x.data() + r * C},
            {one.data()});
        expect_same_bits(one, Rows(all.begin() + r * C, all.begin() + (r + 1) * C));
      }
    }
  });
}

}  // namespace
}  // namespace tapescope
