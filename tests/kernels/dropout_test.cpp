#include "kernels/dropout/dropout.h"

#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

std::vector<float> dropped(const char* variant, const DropoutShape& s, const std::vector<float>& x,
                           std::int64_t step, std::int64_t first_row = 0) {
  auto y = poisoned(s.rows * s.row_elements);
  run(prepare(dropout_variants(), variant, s),
      {x.data() + first_row * s.row_elements, &step, nullptr}, {y.data()});
  return y;
}

// A process that has rows 2 to 4 of a batch drops what one with all of them drops there.
TEST(Dropout, RowsAreNumberedFromTheFirst) {
  const std::int64_t step = 5, first = 2, elements = 37;
  const std::vector<float> x(5 * elements, 1.0f);
  for (const char* variant : {"simd", "reference"}) {
    const auto all = dropped(variant, {DType::f32, 5, elements, 0.5, 42}, x, step);
    auto some = poisoned(3 * elements);
    run(prepare(dropout_variants(), variant, {DType::f32, 3, elements, 0.5, 42}),
        {x.data(), &step, &first}, {some.data()});
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + 2 * elements)) << variant;
  }
}

// The published test vector of Philox4x32-10 (Random123's kat_vectors): all ones.
TEST(Dropout, PhiloxIsPhilox) {
  const PhiloxBlock zeros = philox({0, 0}, {0, 0, 0, 0});
  EXPECT_EQ(zeros, (PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const PhiloxBlock ones = philox({~0u, ~0u}, {~0u, ~0u, ~0u, ~0u});
  EXPECT_EQ(ones, (PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
}

TEST(Dropout, EveryVariantGivesTheSameBits) {
  for_each_isa([] {
    for (std::int64_t elements : {1, 3, 4, 63, 64, 65, 1000, 40001}) {
      for (double p : {0.0, 0.1, 0.5, 0.999}) {
        const DropoutShape s{DType::f32, 5, elements, p, 0x123456789abcdefull};
        const auto x = random_values(s.rows * elements, 1);
        const auto expected = dropped("reference", s, x, 77);
        for_threads([&] { expect_same_bits(dropped("simd", s, x, 77), expected); });
      }
    }
  });
}

TEST(Dropout, KeepsTheRightShareAndScale) {
  const DropoutShape s{DType::f32, 4, 250000, 0.3, 42};
  const std::vector<float> ones(1000000, 1.0f);
  const auto y = dropped("simd", s, ones, 0);
  std::int64_t kept = 0;
  for (float v : y) {
    ASSERT_TRUE(v == 0 || v == 1.0f / 0.7f || v == static_cast<float>(1 / 0.7)) << v;
    kept += v != 0;
  }
  EXPECT_NEAR(static_cast<double>(kept) / 1e6, 0.7, 5 * std::sqrt(0.21 / 1e6));
}

TEST(Dropout, StepsSeedsAndRowsDiffer) {
  DropoutShape s{DType::f32, 2, 1000, 0.5, 42};
  const std::vector<float> ones(2000, 1.0f);
  const auto y = dropped("simd", s, ones, 3), next = dropped("simd", s, ones, 4);
  EXPECT_NE(y, next);
  EXPECT_NE(std::vector<float>(y.begin(), y.begin() + 1000),
            std::vector<float>(y.begin() + 1000, y.end()));
  s.seed_key = 43;
  EXPECT_NE(dropped("simd", s, ones, 3), y);
}

TEST(Dropout, ARowDoesNotDependOnTheNumberOfRows) {
  DropoutShape s{DType::f32, 7, 333, 0.5, 42};
  const auto x = random_values(7 * 333, 9);
  const auto all = dropped("simd", s, x, 1);
  s.rows = 2;
  const auto two = dropped("simd", s, x, 1);
  expect_same_bits(two, std::vector<float>(all.begin(), all.begin() + 666));
}

}  // namespace
}  // namespace tapescope
