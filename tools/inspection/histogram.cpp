#include "tools/inspection/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tapescope::inspection {

void Histogram::add(double value) {
  if (!std::isfinite(value)) {
    ++not_finite;
  } else if (value < low) {
    ++below;
  } else if (value > high) {
    ++above;
  } else {
    const auto bins = static_cast<double>(counts.size());
    const double at = high > low ? (value - low) / (high - low) * bins : 0;
    ++counts[static_cast<std::size_t>(std::min(at, bins - 1))];
  }
}

std::int64_t Histogram::total() const {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

Histogram histogram_of(std::span<const float> values, int bins) {
  Histogram histogram;
  histogram.counts.assign(static_cast<std::size_t>(bins), 0);
  std::vector<float> finite;
  for (float value : values) {
    if (std::isfinite(value)) finite.push_back(value);
  }
  if (!finite.empty()) {
    const auto quantile = [&](double share) {
      const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(finite.size() - 1));
      std::nth_element(finite.begin(), finite.begin() + at, finite.end());
      return static_cast<double>(finite[static_cast<std::size_t>(at)]);
    };
    histogram.low = quantile(0.001);
    histogram.high = quantile(0.999);
    if (histogram.low == histogram.high) histogram.counts.assign(1, 0);
  }
  for (float value : values) histogram.add(value);
  return histogram;
}

}  // namespace tapescope::inspection
