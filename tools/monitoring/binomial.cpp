#include "tools/monitoring/binomial.h"

#include <algorithm>
#include <cmath>

namespace tapescope::monitoring {

double at_most(std::int64_t k, std::int64_t n, double p) {
  if (k < 0) return 0;
  if (k >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  const auto count = static_cast<double>(n);
  double sum = 0;
  for (std::int64_t i = k; i >= 0; --i) {
    const auto right = static_cast<double>(i);
    const double term =
        std::exp(std::lgamma(count + 1) - std::lgamma(right + 1) - std::lgamma(count - right + 1) +
                 right * std::log(p) + (count - right) * std::log1p(-p));
    sum += term;
    // Below the mode terms only get smaller.
    if (right < count * p && term < 1e-18 * sum) break;
  }
  return std::min(1.0, sum);
}

double at_least(std::int64_t k, std::int64_t n, double p) { return at_most(n - k, n, 1 - p); }

std::pair<double, double> interval_of(std::int64_t k, std::int64_t n) {
  constexpr double kTail = 0.025;
  // The p at which a tail that grows with p (or falls) has the probability kTail, by halving.
  const auto solve = [&](auto above) {
    double low = 0, high = 1;
    for (int i = 0; i < 60; ++i) {
      const double middle = (low + high) / 2;
      (above(middle) ? high : low) = middle;
    }
    return (low + high) / 2;
  };
  return {k <= 0 ? 0 : solve([&](double p) { return at_least(k, n, p) > kTail; }),
          k >= n ? 1 : solve([&](double p) { return at_most(k, n, p) < kTail; })};
}

}  // namespace tapescope::monitoring
