// Where a bilinear sample falls.
#pragma once

#include <cstdint>

namespace tapescope {

// Where output pixel `at` of `out` samples an axis of `in` pixels, half-pixel centres, the border
// repeated: (1 - high_weight) * x[low] + high_weight * x[high].
struct LinearTap {
  std::int64_t low, high;
  double high_weight;
};
constexpr LinearTap linear_tap(std::int64_t at, std::int64_t in, std::int64_t out) {
  const double ratio = static_cast<double>(in) / static_cast<double>(out);
  double centre = (static_cast<double>(at) + 0.5) * ratio - 0.5;
  if (centre < 0) centre = 0;
  auto low = static_cast<std::int64_t>(centre);
  if (low > in - 1) low = in - 1;
  const std::int64_t high = low + 1 < in ? low + 1 : low;
  return {low, high, centre - static_cast<double>(low)};
}

}  // namespace tapescope
