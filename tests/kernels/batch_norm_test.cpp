#include "kernels/batch_norm/batch_norm.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

using Values = std::vector<float>;

// y for one element perturbed, in f64, from sums of powers: another formula than the kernels'.
struct Direct {
  std::int64_t rows, C;
  double eps;
  std::vector<double> mean, variance;

  Direct(std::int64_t rows, std::int64_t C, double eps, const std::vector<double>& x)
      : rows(rows), C(C), eps(eps) {
    for (std::int64_t c = 0; c < C; ++c) {
      const double origin = x[static_cast<std::size_t>(c)];  // against cancellation
      long double sum = 0, squares = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        const long double v = x[static_cast<std::size_t>(r * C + c)] - origin;
        sum += v;
        squares += v * v;
      }
      const long double m = sum / rows;
      mean.push_back(static_cast<double>(m) + origin);
      variance.push_back(static_cast<double>(squares / rows - m * m));
    }
  }
  double normal(double x, std::int64_t c) const {
    const auto i = static_cast<std::size_t>(c);
    return (x - mean[i]) / std::sqrt(variance[i] + eps);
  }
};

std::vector<double> wide(const Values& x) { return {x.begin(), x.end()}; }

void check_training(std::int64_t rows, std::int64_t C, double centre, double spread,
                    double tolerance) {
  SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(C));
  const BatchNormShape s{DType::f32, rows, C, 1e-5};
  const Values x = random_values(rows * C, 1, centre - spread, centre + spread);
  const Values scale = random_values(C, 2), shift = random_values(C, 3);
  const Direct direct(rows, C, s.eps, wide(x));
  for (const char* variant : {"reference", "simd"}) {
    SCOPED_TRACE(variant);
    Values first;
    for_threads([&] {
      Values y = poisoned(rows * C), mean = poisoned(C), variance = poisoned(C);
      run(prepare(batch_norm_training_variants(), variant, s),
          {x.data(), scale.data(), shift.data()}, {y.data(), mean.data(), variance.data()});
      if (first.empty()) first = y;
      expect_same_bits(y, first);
      for (std::size_t c = 0; c < mean.size(); ++c) {
        ASSERT_TRUE(
            close(mean[c], direct.mean[c], 1e-7 * std::fabs(direct.mean[c]) + 1e-6 * spread));
        ASSERT_TRUE(close(variance[c], direct.variance[c], tolerance * direct.variance[c] + 1e-12));
      }
    });
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto c = static_cast<std::int64_t>(i) % C;
      const double expected = direct.normal(x[i], c) * scale[static_cast<std::size_t>(c)] +
                              shift[static_cast<std::size_t>(c)];
      ASSERT_TRUE(close(first[i], expected, 4 * tolerance)) << "element " << i;
    }
  }
}

TEST(BatchNorm, TrainingAgreesWithDirectComputation) {
  for_each_isa([] {
    check_training(1, 1, 0, 1, 2e-6);
    check_training(2, 5, 0, 1, 2e-6);
    check_training(1000, 1, 0.3, 1, 2e-6);
    check_training(5003, 3, 0.3, 1, 2e-6);
    check_training(777, 16, -0.3, 1, 2e-6);
    check_training(4099, 64, 0, 1, 2e-6);
    check_training(1031, 65, 0, 1, 2e-6);
    check_training(40, 1500, 0, 1, 2e-6);
    check_training(20, 40001, 0, 1, 2e-6);
  });
}

TEST(BatchNorm, AMeanFarFromZeroCostsNoAccuracy) {
  for_each_isa([] { check_training(6007, 24, 1000, 1, 4e-6); });
}

TEST(BatchNorm, InferenceAgreesAndDoesNotDependOnTheNumberOfRows) {
  for_each_isa([] {
    for (std::int64_t C : {1, 3, 10, 64, 100}) {
      const std::int64_t rows = 703;
      const BatchNormShape s{DType::f32, rows, C, 1e-3};
      const Values x = random_values(rows * C, 1), scale = random_values(C, 2);
      const Values mean = random_values(C, 4), variance = random_values(C, 5, 0.1, 2);
      for (const char* variant : {"reference", "simd"}) {
        SCOPED_TRACE(std::string(variant) + " " + std::to_string(C));
        Values y = poisoned(rows * C);
        run(prepare(batch_norm_inference_variants(), variant, s),
            {x.data(), scale.data(), nullptr, mean.data(), variance.data()}, {y.data()});
        for (std::size_t i = 0; i < x.size(); ++i) {
          const std::size_t c = i % static_cast<std::size_t>(C);
          const double expected = (static_cast<double>(x[i]) - mean[c]) * scale[c] /
                                  std::sqrt(static_cast<double>(variance[c]) + s.eps);
          ASSERT_TRUE(close(y[i], expected, 1e-6)) << i;
        }
        for (std::int64_t part : {1, 15, 16, 301}) {
          BatchNormShape few = s;
          few.rows = part;
          Values z = poisoned(part * C);
          run(prepare(batch_norm_inference_variants(), variant, few),
              {x.data(), scale.data(), nullptr, mean.data(), variance.data()}, {z.data()});
          expect_same_bits(z, Values(y.begin(), y.begin() + part * C));
        }
      }
    }
  });
}

// The gradient of L = sum dy * y by central differences of the direct computation in f64.
TEST(BatchNorm, GradientIsTheDerivative) {
  const std::int64_t rows = 13, C = 4;
  const BatchNormShape s{DType::f64, rows, C, 1e-2};
  const auto x = random_values<double>(rows * C, 1), dy = random_values<double>(rows * C, 2);
  const auto scale = random_values<double>(C, 3);
  const Direct direct(rows, C, s.eps, x);
  std::vector<double> dx(x.size()), dscale(4), dshift(4);
  run(prepare(batch_norm_gradient_variants(), "reference", s),
      {dy.data(), x.data(), direct.mean.data(), direct.variance.data(), scale.data()},
      {dx.data(), dscale.data(), dshift.data()});
  const auto loss = [&](const std::vector<double>& at, const std::vector<double>& with) {
    const Direct d(rows, C, s.eps, at);
    double sum = 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
      const auto c = static_cast<std::int64_t>(i) % C;
      sum += dy[i] * d.normal(at[i], c) * with[static_cast<std::size_t>(c)];
    }
    return sum;
  };
  const double h = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto up = x, down = x;
    up[i] += h;
    down[i] -= h;
    EXPECT_NEAR(dx[i], (loss(up, scale) - loss(down, scale)) / (2 * h), 1e-8);
  }
  for (std::size_t c = 0; c < 4; ++c) {
    auto up = scale, down = scale;
    up[c] += h;
    down[c] -= h;
    EXPECT_NEAR(dscale[c], (loss(x, up) - loss(x, down)) / (2 * h), 1e-8);
    double sum = 0;
    for (std::size_t r = 0; r < 13; ++r) sum += dy[r * 4 + c];
    EXPECT_NEAR(dshift[c], sum, 1e-13);
  }
}

TEST(BatchNorm, SimdGradientAgreesWithF64) {
  for_each_isa([] {
    for (auto [rows, C] : {std::pair<std::int64_t, std::int64_t>{1, 3},
                           {3001, 1},
                           {1237, 7},
                           {4099, 64},
                           {333, 130},
                           {17, 5000}}) {
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(C));
      const Values x = random_values(rows * C, 1, 0, 2), dy = random_values(rows * C, 2);
      const Values mean = random_values(C, 3, 0.9, 1.1), variance = random_values(C, 4, 0.2, 0.5);
      const Values scale = random_values(C, 5);
      std::vector<double> dx64(x.size()), dscale64(scale.size()), dshift64(scale.size());
      const auto x64 = wide(x), dy64 = wide(dy), mean64 = wide(mean), variance64 = wide(variance);
      const auto scale64 = wide(scale);
      run(prepare(batch_norm_gradient_variants(), "reference", {DType::f64, rows, C, 1e-5}),
          {dy64.data(), x64.data(), mean64.data(), variance64.data(), scale64.data()},
          {dx64.data(), dscale64.data(), dshift64.data()});
      Values first;
      for_threads([&] {
        Values dx = dy, dscale = poisoned(C), dshift = poisoned(C);  // dx in place of dy
        run(prepare(batch_norm_gradient_variants(), "simd", {DType::f32, rows, C, 1e-5}),
            {dx.data(), x.data(), mean.data(), variance.data(), scale.data()},
            {dx.data(), dscale.data(), dshift.data()});
        if (first.empty()) first = dx;
        expect_same_bits(dx, first);
        for (std::size_t c = 0; c < dscale.size(); ++c) {
          const double magnitude = static_cast<double>(rows);
          ASSERT_TRUE(close(dscale[c], dscale64[c], 1e-6 * magnitude)) << c;
          ASSERT_TRUE(close(dshift[c], dshift64[c], 1e-6 * magnitude)) << c;
        }
      });
      for (std::size_t i = 0; i < first.size(); ++i) {
        ASSERT_TRUE(close(first[i], dx64[i], 5e-6)) << i;
      }
      // Each output may be left out.
      Values only = poisoned(C);
      run(prepare(batch_norm_gradient_variants(), "simd", {DType::f32, rows, C, 1e-5}),
          {dy.data(), x.data(), mean.data(), variance.data(), scale.data()},
          {nullptr, nullptr, only.data()});
      EXPECT_TRUE(close(only[0], dshift64[0], 1e-6 * static_cast<double>(rows)));
    }
  });
}

// By themselves: the normalisation, r added, negative ones cut off, each rounded; and backwards.
TEST(BatchNorm, WithReluItIsTheSameBitForBitAsOneAfterTheOther) {
  for_each_isa([] {
    for (auto [rows, C] : {std::pair<std::int64_t, std::int64_t>{1, 3},
                           {3001, 1},
                           {1237, 7},
                           {4099, 64},
                           {333, 130}}) {
      for (const bool residual : {false, true}) {
        SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(C));
        BatchNormShape s{DType::f32, rows, C, 1e-5};
        const Values x = random_values(rows * C, 1, -1, 2), r = random_values(rows * C, 2);
        const Values scale = random_values(C, 3), shift = random_values(C, 4);
        const Values dy = random_values(rows * C, 5);
        Values y = poisoned(rows * C), mean = poisoned(C), variance = poisoned(C);
        run(prepare(batch_norm_training_variants(), "simd", s),
            {x.data(), scale.data(), shift.data()}, {y.data(), mean.data(), variance.data()});
        Values masked = dy;
        for (std::size_t i = 0; i < y.size(); ++i) {
          if (residual) y[i] += r[i];
          if (y[i] < 0) y[i] = 0;
          if (!(y[i] > 0)) masked[i] = 0;
        }
        Values dx = poisoned(rows * C), dscale = poisoned(C), dshift = poisoned(C);
        run(prepare(batch_norm_gradient_variants(), "simd", s),
            {masked.data(), x.data(), mean.data(), variance.data(), scale.data()},
            {dx.data(), dscale.data(), dshift.data()});

        s.residual = residual;
        Values relu_y = residual ? r : poisoned(rows * C);  // y in place of r
        Values relu_mean = poisoned(C), relu_variance = poisoned(C);
        Values factor = poisoned(C), offset = poisoned(C);
        run(prepare(batch_norm_relu_training_variants(), "simd", s),
            {x.data(), scale.data(), shift.data(), relu_y.data()},
            {relu_y.data(), relu_mean.data(), relu_variance.data(), factor.data(), offset.data()});
        expect_same_bits(relu_y, y);
        expect_same_bits(relu_mean, mean);
        expect_same_bits(relu_variance, variance);
        Values relu_dx = poisoned(rows * C), relu_dscale = poisoned(C), relu_dshift = poisoned(C);
        Values dr = dy;  // in place of dy
        const Plan gradient = prepare(batch_norm_relu_gradient_variants(), "simd", s);
        if (residual) {
          run(gradient, {dr.data(), x.data(), mean.data(), variance.data(), scale.data(), y.data()},
              {relu_dx.data(), relu_dscale.data(), relu_dshift.data(), dr.data()});
          expect_same_bits(dr, masked);
        } else {
          run(gradient,
              {dy.data(), x.data(), mean.data(), variance.data(), scale.data(), factor.data(),
               offset.data()},
              {relu_dx.data(), relu_dscale.data(), relu_dshift.data()});
        }
        expect_same_bits(relu_dx, dx);
        expect_same_bits(relu_dscale, dscale);
        expect_same_bits(relu_dshift, dshift);
      }
    }
  });
}

}  // namespace
}  // namespace tapescope
