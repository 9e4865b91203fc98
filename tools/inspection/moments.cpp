#include <cmath>

#include "tools/inspection/activations.h"

namespace tapescope::inspection {

// Pebay 2008, "Formulas for robust, one-pass parallel computation of covariances and
// arbitrary-order statistical moments": the batch's own central sums, then both joined.
void Moments::add(std::span<const float> values) {
  double n = 0, sum = 0;
  for (float v : values) {
    if (!std::isfinite(v)) continue;
    ++n;
    sum += v;
  }
  not_finite += static_cast<std::int64_t>(values.size()) - static_cast<std::int64_t>(n);
  if (n == 0) return;
  const double batch_mean = sum / n;
  double b2 = 0, b3 = 0, b4 = 0;
  for (float v : values) {
    if (!std::isfinite(v)) continue;
    const double d = v - batch_mean, d2 = d * d;
    b2 += d2;
    b3 += d2 * d;
    b4 += d2 * d2;
  }
  const double a = count, total = a + n, delta = batch_mean - mean;
  const double delta2 = delta * delta;
  m4 += b4 + delta2 * delta2 * a * n * (a * a - a * n + n * n) / (total * total * total) +
        6 * delta2 * (a * a * b2 + n * n * m2) / (total * total) +
        4 * delta * (a * b3 - n * m3) / total;
  m3 += b3 + delta2 * delta * a * n * (a - n) / (total * total) +
        3 * delta * (a * b2 - n * m2) / total;
  m2 += b2 + delta2 * a * n / total;
  mean += delta * n / total;
  count = total;
}

double Moments::std() const { return count > 0 ? std::sqrt(m2 / count) : 0; }
double Moments::kurtosis() const { return m2 > 0 ? count * m4 / (m2 * m2) - 3 : 0; }

}  // namespace tapescope::inspection
