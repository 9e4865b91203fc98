#include "kernels/more_ops/cast/cast.h"

#include <limits>

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class To, class From>
std::vector<To> converted(const std::vector<From>& x, const char* variant) {
  const auto n = static_cast<std::int64_t>(x.size());
  auto y = poisoned<To>(n);
  const CastShape s{dtype_of<From>(), dtype_of<To>(), n};
  run(prepare(cast_variants(), variant, s, s.from), {x.data()}, {y.data()});
  return y;
}

TEST(Cast, IntegersTruncateAndSaturate) {
  using I = std::int64_t;
  constexpr I lowest = std::numeric_limits<I>::min(), highest = std::numeric_limits<I>::max();
  const std::vector<float> x = {1.9f, -1.9f, 300, -5, kInfinity, -kInfinity, NAN, 1e30f};
  EXPECT_EQ((converted<I>(x, "reference")),
            (std::vector<I>{1, -1, 300, -5, highest, lowest, 0, highest}));
  using B = std::uint8_t;
  EXPECT_EQ((converted<B>(x, "reference")), (std::vector<B>{1, 0, 255, 0, 255, 0, 0, 255}));
  EXPECT_EQ((converted<B>(std::vector<I>{-1, 0, 255, 256, highest, lowest}, "reference")),
            (std::vector<B>{0, 0, 255, 255, 255, 0}));
}

TEST(Cast, Bf16RoundsOnceToNearestEven) {
  // 1 + 2^-8 lies half way between two bf16 numbers; a little more must round up, even where f32
  // would round the little away.
  const double half = 1.00390625;
  const std::vector<double> x = {half, half + 1e-12, half - 1e-12, 1.01171875, -half - 1e-12};
  const auto y = converted<bf16>(x, "reference");
  EXPECT_EQ(static_cast<float>(y[0]), 1.0f);
  EXPECT_EQ(static_cast<float>(y[1]), 1.0078125f);
  EXPECT_EQ(static_cast<float>(y[2]), 1.0f);
  EXPECT_EQ(static_cast<float>(y[3]), 1.015625f);
  EXPECT_EQ(static_cast<float>(y[4]), -1.0078125f);
}

template <class To, class From>
void expect_variants_agree(std::vector<From> x) {
  SCOPED_TRACE(std::string(name_of(dtype_of<From>())) + " to " +
               std::string(name_of(dtype_of<To>())));
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{17}, x.size()}) {
    const std::vector<From> part(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n));
    const auto expected = converted<To>(part, "reference");
    for_threads([&] {
      const auto y = converted<To>(part, "simd");
      for (std::size_t i = 0; i < n; ++i) {
        const auto a = static_cast<double>(static_cast<float>(y[i]));
        const auto b = static_cast<double>(static_cast<float>(expected[i]));
        ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << i << ": " << a << " " << b;
      }
    });
  }
}

TEST(Cast, VectorsGiveTheSameNumbers) {
  for_each_isa([] {
    std::vector<float> floats = random_values(70001, 1, -100, 100);
    for (float special : {kInfinity, -kInfinity, NAN, 3.4e38f, 1e-45f, -0.0f}) {
      floats.insert(floats.begin() + 5, special);
    }
    std::vector<bf16> halves;
    std::vector<double> doubles;
    std::vector<std::uint8_t> bytes;
    std::vector<std::int64_t> integers;
    for (std::size_t i = 0; i < floats.size(); ++i) {
      halves.push_back(bf16(floats[i]));
      doubles.push_back(static_cast<double>(floats[i]) * 1.000000001);
      bytes.push_back(static_cast<std::uint8_t>(i));
      integers.push_back(static_cast<std::int64_t>(i) * (i % 2 == 0 ? 1'000'003 : -77'777'777));
    }
    expect_variants_agree<bf16>(floats);
    expect_variants_agree<double>(floats);
    expect_variants_agree<float>(halves);
    expect_variants_agree<float>(doubles);
    expect_variants_agree<float>(bytes);
    expect_variants_agree<float>(integers);
  });
}

}  // namespace
}  // namespace tapescope
