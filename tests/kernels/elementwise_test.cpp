#include "kernels/elementwise/elementwise.h"

#include <limits>

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Distance in units of the last place of the correctly rounded result.
double ulps(float value, double exact) {
  const float rounded = static_cast<float>(exact);
  if (std::isnan(value) || std::isnan(exact)) {
    return std::isnan(value) && std::isnan(exact) ? 0 : kInfinity;
  }
  if (value == rounded) return 0;
  if (std::isinf(rounded) || std::isinf(value)) return kInfinity;
  int exponent = 0;
  std::frexp(rounded, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(static_cast<double>(value) - exact) / unit;
}

struct MathCase {
  Unary function;
  double (*exact)(double);
  double low, high;
  double bound;  // ulps
};

TEST(Elementwise, SimdMathIsWithinItsBounds) {
  const MathCase cases[] = {
      {Unary::exp, [](double x) { return std::exp(x); }, -103, 88.7, 1.0},
      {Unary::log, [](double x) { return std::log(x); }, 0, 4, 1.0},
      {Unary::log, [](double x) { return std::log(x); }, 0, 3e38, 1.0},
      {Unary::tanh, [](double x) { return std::tanh(x); }, -12, 12, 2.5},
      {Unary::tanh, [](double x) { return std::tanh(x); }, -0.1, 0.1, 2.5},
      {Unary::erf, [](double x) { return std::erf(x); }, -5, 5, 2.0},
      {Unary::erf, [](double x) { return std::erf(x); }, -0.01, 0.01, 2.0},
      {Unary::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -87, 87, 2.5},
      {Unary::silu, [](double x) { return x / (1 + std::exp(-x)); }, -87, 87, 3},
      {Unary::elu, [](double x) { return x > 0 ? x : std::expm1(x); }, -40, 5, 2.5},
      {Unary::elu, [](double x) { return x > 0 ? x : std::expm1(x); }, -0.1, 0.1, 2.5},
      {Unary::softplus, [](double x) { return std::log1p(std::exp(x)); }, -80, 80, 3},
      {Unary::sqrt, [](double x) { return std::sqrt(x); }, 0, 100, 0.51},
      {Unary::rsqrt, [](double x) { return 1 / std::sqrt(x); }, 1e-3, 100, 1.5},
  };
  for_each_isa([&] {
    for (const MathCase& c : cases) {
      SCOPED_TRACE(name_of(c.function));
      const std::int64_t n = 300001;
      const auto x = random_values(n, 7, c.low, c.high);
      auto y = poisoned(n);
      run(prepare(unary_variants(), "simd", {DType::f32, c.function, n, 1, 0}), {x.data()},
          {y.data()});
      double worst = 0;
      float where = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], c.exact(static_cast<double>(x[i])));
        if (error > worst) worst = error, where = x[i];
      }
      EXPECT_LE(worst, c.bound) << "at " << where;
      RecordProperty(std::string(name_of(c.function)), std::to_string(worst));
    }
  });
}

// Values at which functions of floats go wrong.
const std::vector<float> kSpecial = {0.0f,   -0.0f,   1.0f,    -1.0f,   kInfinity, -kInfinity,
                                     kNan,   1e-45f,  -1e-45f, 1e-38f,  3e38f,     -3e38f,
                                     88.8f,  -88.8f,  104.0f,  -104.0f, 0.5f,      -0.5f,
                                     1e-20f, -1e-20f, 16.0f,   -16.0f,  2.0f,      -2.0f};

double tolerance_of(double expected) { return 1e-45 + 4e-7 * std::fabs(expected); }

TEST(Elementwise, SimdUnaryAgreesWithReferenceOnSpecialValues) {
  for_each_isa([&] {
    for (int f = 0; f < kUnaryFunctions; ++f) {
      const auto function = static_cast<Unary>(f);
      if (function == Unary::power) continue;
      SCOPED_TRACE(name_of(function));
      const auto n = static_cast<std::int64_t>(kSpecial.size());
      auto fast = poisoned(n), slow = poisoned(n);
      const UnaryShape shape{DType::f32, function, n, 0.25, 2};
      run(prepare(unary_variants(), "simd", shape), {kSpecial.data()}, {fast.data()});
      run(prepare(unary_variants(), "reference", shape), {kSpecial.data()}, {slow.data()});
      for (std::size_t i = 0; i < fast.size(); ++i) {
        // exp may flush what is below half the smallest denormal differently by one step.
        EXPECT_TRUE(close(fast[i], slow[i], tolerance_of(slow[i]))) << "f(" << kSpecial[i] << ")";
      }
    }
  });
}

TEST(Elementwise, SimdBinaryAgreesWithReferenceOnSpecialValues) {
  std::vector<float> a, b;
  for (float x : kSpecial)
    for (float y : kSpecial) a.push_back(x), b.push_back(y);
  const auto n = static_cast<std::int64_t>(a.size());
  for_each_isa([&] {
    for (int f = 0; f < kBinaryFunctions; ++f) {
      const auto function = static_cast<Binary>(f);
      if (function == Binary::pow) continue;
      SCOPED_TRACE(name_of(function));
      auto fast = poisoned(n), slow = poisoned(n);
      const BinaryShape shape{DType::f32, function, {n}, {n}, 0.25, 2};
      run(prepare(binary_variants(), "simd", shape), {a.data(), b.data()}, {fast.data()});
      run(prepare(binary_variants(), "reference", shape), {a.data(), b.data()}, {slow.data()});
      for (std::size_t i = 0; i < fast.size(); ++i) {
        EXPECT_TRUE(close(fast[i], slow[i], 1e-6 * std::fabs(a[i]) * 1e-6 + tolerance_of(slow[i])))
            << "f(" << a[i] << ", " << b[i] << ")";
      }
    }
  });
}

// What a few functions are, written down a second time.
TEST(Elementwise, ReferenceComputesWhatTheNamesSay) {
  struct Case {
    Unary function;
    double x, p0, p1, y;
  };
  const Case cases[] = {
      {Unary::relu, -2, 0, 0, 0},
      {Unary::relu, 3, 0, 0, 3},
      {Unary::negative_part, -2, 0, 0, -2},
      {Unary::leaky_relu, -2, 0.1, 0, -0.2},
      {Unary::elu, -1, 2, 0, -1.2642411176571153},
      {Unary::gelu, 1, 0, 0, 0.8413447460685429},
      {Unary::silu, 1, 0, 0, 0.7310585786300049},
      {Unary::sigmoid, 0, 0, 0, 0.5},
      {Unary::softplus, 0, 0, 0, 0.6931471805599453},
      {Unary::square, -3, 0, 0, 9},
      {Unary::power, 2, 3, 0, 8},
      {Unary::sign, -5, 0, 0, -1},
      {Unary::step, 0, 0, 0, 0},
      {Unary::step, 1e-9, 0, 0, 1},
      {Unary::inside, 2, 1, 3, 1},
      {Unary::inside, 4, 1, 3, 0},
      {Unary::clamp, 4, 1, 3, 3},
      {Unary::clamp, 0, 1, 3, 1},
      {Unary::affine, 2, 3, 4, 10},
      {Unary::stabilize, 0, 0.5, 0, 0.5},
      {Unary::stabilize, -1, 0.5, 0, -1.5},
      {Unary::reciprocal, 4, 0, 0, 0.25},
      {Unary::is_zero, 0, 0, 0, 1},
      {Unary::neg, 4, 0, 0, -4},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(name_of(c.function));
    double y = 0;
    run(prepare(unary_variants(), "reference", {DType::f64, c.function, 1, c.p0, c.p1}), {&c.x},
        {&y});
    EXPECT_NEAR(y, c.y, 1e-15);
  }
}

// The fused gradients against central differences of the functions they differentiate.
TEST(Elementwise, GradientsAreDerivatives) {
  struct Case {
    Unary function;
    Binary gradient;
    bool from_output;
  };
  const Case cases[] = {{Unary::relu, Binary::mask_positive, false},
                        {Unary::leaky_relu, Binary::leaky_relu_gradient, false},
                        {Unary::elu, Binary::elu_gradient, false},
                        {Unary::gelu, Binary::gelu_gradient, false},
                        {Unary::silu, Binary::silu_gradient, false},
                        {Unary::softplus, Binary::softplus_gradient, false},
                        {Unary::sigmoid, Binary::sigmoid_gradient_from_output, true},
                        {Unary::tanh, Binary::tanh_gradient_from_output, true}};
  const std::int64_t n = 41;
  std::vector<double> x(static_cast<std::size_t>(n)), dy(x.size(), 1.5), up(x), down(x), y(x),
      dx(x);
  const double h = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = -4.03 + 0.2 * static_cast<double>(i);
  const auto evaluate = [&](Unary f, double shift, std::vector<double>& out) {
    std::vector<double> moved = x;
    for (double& value : moved) value += shift;
    run(prepare(unary_variants(), "reference", {DType::f64, f, n, 0.3, 0}), {moved.data()},
        {out.data()});
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(name_of(c.function));
    evaluate(c.function, h, up);
    evaluate(c.function, -h, down);
    evaluate(c.function, 0, y);
    run(prepare(binary_variants(), "reference", {DType::f64, c.gradient, {n}, {n}, 0.3, 0}),
        {dy.data(), c.from_output ? y.data() : x.data()}, {dx.data()});
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(dx[i], 1.5 * (up[i] - down[i]) / (2 * h), 1e-8) << "at " << x[i];
    }
  }
}

// Broadcasting, by explicit loops over padded shapes.
void check_broadcast(const Shape& a, const Shape& b) {
  SCOPED_TRACE(to_string(a) + " and " + to_string(b));
  const BinaryShape shape{DType::f32, Binary::sub, a, b, 0, 0};
  const Shape out = shape.out();
  const auto x = random_values(a.elements(), 1), z = random_values(b.elements(), 2);
  std::vector<float> expected(static_cast<std::size_t>(out.elements()));
  const auto at = [&](const Shape& s, const std::vector<std::int64_t>& position) {
    std::int64_t index = 0;
    for (int axis = 0; axis < s.rank(); ++axis) {
      const std::int64_t p = position[static_cast<std::size_t>(axis + out.rank() - s.rank())];
      index = index * s[axis] + (s[axis] == 1 ? 0 : p);
    }
    return static_cast<std::size_t>(index);
  };
  std::vector<std::int64_t> position(static_cast<std::size_t>(out.rank()), 0);
  for (float& value : expected) {
    value = x[at(a, position)] - z[at(b, position)];
    for (int axis = out.rank() - 1; axis >= 0; --axis) {
      if (++position[static_cast<std::size_t>(axis)] < out[axis]) break;
      position[static_cast<std::size_t>(axis)] = 0;
    }
  }
  for (const char* variant : {"reference", "simd"}) {
    SCOPED_TRACE(variant);
    for_threads([&] {
      auto y = poisoned(out.elements());
      run(prepare(binary_variants(), variant, shape), {x.data(), z.data()}, {y.data()});
      expect_same_bits(y, expected);
    });
  }
}

TEST(Elementwise, Broadcasts) {
  check_broadcast({}, {});
  check_broadcast({1}, {});
  check_broadcast({7}, {});
  check_broadcast({}, {100003});
  check_broadcast({5, 7, 3}, {3});
  check_broadcast({3}, {5, 7, 3});
  check_broadcast({211, 13, 64}, {64});
  check_broadcast({40, 2000}, {2000});
  check_broadcast({40, 2000}, {40, 1});
  check_broadcast({4000, 20}, {4000, 1});
  check_broadcast({20, 31, 17, 8}, {20, 1, 1, 8});
  check_broadcast({20, 31, 17, 8}, {20, 31, 17, 1});
  check_broadcast({20, 31, 17, 8}, {20, 1, 1, 1});
  check_broadcast({20, 1, 17, 1}, {1, 31, 1, 8});
  check_broadcast({2, 1, 3, 1, 300}, {4, 1, 5, 1});
  check_broadcast({2, 3, 2, 3, 2, 3}, {2, 1, 2, 1, 2, 1});
  check_broadcast({0, 3}, {3});
  check_broadcast({4, 1}, {1, 0});
}

TEST(Elementwise, RefusesShapesThatDoNotBroadcast) {
  try {
    prepare_from(binary_variants(), {DType::f32, Binary::add, {2, 3}, {4}, 0, 0}, DType::f32,
                 Backend{});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("{2, 3} and {4}"), std::string::npos) << error.what();
  }
}

TEST(Elementwise, SizesTailsAndThreadsChangeNoBit) {
  for_each_isa([&] {
    for (Unary function : {Unary::relu, Unary::gelu, Unary::tanh, Unary::log}) {
      SCOPED_TRACE(name_of(function));
      const std::int64_t largest = 100001;
      const auto x = random_values(largest, 3, -3, 3);
      auto all = poisoned(largest);
      run(prepare(unary_variants(), "simd", {DType::f32, function, largest, 0, 0}), {x.data()},
          {all.data()});
      for (std::int64_t n : {0, 1, 2, 15, 16, 17, 63, 64, 65, 1000, 33000, 100001}) {
        for_threads([&] {
          auto y = poisoned(n + 8);
          run(prepare(unary_variants(), "simd", {DType::f32, function, n, 0, 0}), {x.data()},
              {y.data()});
          EXPECT_EQ(n > 0 ? std::memcmp(y.data(), all.data(), static_cast<std::size_t>(n) * 4) : 0,
                    0)
              << n;
          for (std::size_t i = 0; i < 8; ++i) {
            EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(n) + i])) << "past the end";
          }
        });
      }
    }
  });
}

TEST(Elementwise, WorksInPlaceAndInBf16) {
  auto x = random_values(1000, 5);
  const auto before = x;
  run(prepare_from(unary_variants(), {DType::f32, Unary::relu, 1000, 0, 0}, DType::f32, Backend{}),
      {x.data()}, {x.data()});
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], std::max(before[i], 0.0f));

  // bf16 is computed in f32 and rounded once, whichever variant does it.
  const std::int64_t n = 2057;
  std::vector<bf16> a, b;
  for (float value : random_values(n, 6, -3, 3)) a.push_back(bf16(value));
  for (float value : random_values(n, 7, -3, 3)) b.push_back(bf16(value));
  for (const char* variant : {"reference", "simd"}) {
    for_threads([&] {
      std::vector<bf16> product = poisoned<bf16>(n), positive = poisoned<bf16>(n);
      run(prepare(binary_variants(), variant, {DType::bf16, Binary::mul, {n}, {n}, 0, 0}),
          {a.data(), b.data()}, {product.data()});
      run(prepare(unary_variants(), variant, {DType::bf16, Unary::relu, n, 0, 0}), {a.data()},
          {positive.data()});
      for (std::size_t i = 0; i < a.size(); ++i) {
        const float exact = static_cast<float>(a[i]) * static_cast<float>(b[i]);
        EXPECT_EQ(product[i].bits, bf16(exact).bits) << variant << " " << i;
        EXPECT_EQ(static_cast<float>(positive[i]), std::max(static_cast<float>(a[i]), 0.0f));
      }
    });
  }
}

}  // namespace
}  // namespace tapescope
