// What black, white and what lies between become in a model's input.
#include "tools/explanation/pixel_domain.h"

#include <gtest/gtest.h>

namespace tapescope {
namespace {

TEST(PixelDomain, IsWhatThePipelineMakesOfBlackAndWhite) {
  const Preprocess preprocess{
      Pipeline({ToTensor{}, Normalize{{0.4, 0.5, 0.25}, {0.2, 0.25, 0.5}}}), {8, 8, 3}};
  const auto expect = [&](double value, std::vector<double> channels) {
    const std::vector<double> got = pixel_value(value, preprocess).values;
    ASSERT_EQ(got.size(), 3u);
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(got[c], channels[c], 1e-6) << value;
  };
  expect(0, {-2, -2, -0.5});
  expect(1, {3, 2, 1.5});
  expect(0.5, {0.5, 0, 0.5});
  expect(-0.1, {-2.5, -2.4, -0.7});
}

}  // namespace
}  // namespace tapescope
