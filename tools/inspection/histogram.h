// Histograms that one wild value cannot spoil.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tapescope::inspection {

// Equal bins over [low, high]; what lies outside or is not finite is counted, not dropped and not
// allowed to stretch the axis.
struct Histogram {
  double low = 0, high = 0;
  std::vector<std::int64_t> counts;
  std::int64_t below = 0, above = 0, not_finite = 0;

  void add(double value);
  std::int64_t total() const;  // of the bins
};

// Over the middle 99.8 % of the values: a thousandth may lie outside on either side. Values that
// are all equal get a bin of their own.
Histogram histogram_of(std::span<const float> values, int bins = 40);

}  // namespace tapescope::inspection
