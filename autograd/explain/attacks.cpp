#include "autograd/explain/attacks.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace tapescope::explain {
namespace {

double length(std::span<const double> v) {
  double sum = 0;
  for (double d : v) sum += d * d;
  return std::sqrt(sum);
}

// Into the ball of one sample's change.
void project(std::span<double> change, const AttackOptions& options) {
  if (options.norm == Norm::linf) {
    for (double& d : change) d = std::clamp(d, -options.radius, options.radius);
    return;
  }
  const double size = length(change);
  if (size <= options.radius) return;
  for (double& d : change) d *= options.radius / size;
}

}  // namespace

Tensor fgsm(const Gradients& loss_gradient, const Tensor& x, double epsilon, bool targeted,
            double low, double high) {
  AttackOptions options;
  options.radius = options.step = epsilon;
  options.steps = 1;
  options.targeted = targeted;
  options.low = low;
  options.high = high;
  return pgd(loss_gradient, x, options);
}

Tensor pgd(const Gradients& loss_gradient, const Tensor& x, const AttackOptions& options) {
  if (options.radius < 0 || options.step < 0 || options.steps < 1 || options.low > options.high) {
    throw usage_error(
        "[pgd] radius {}, step {}, {} steps, bounds {} to {}: radius and step must not be "
        "negative, "
        "steps at least 1, bounds in order",
        options.radius, options.step, options.steps, options.low, options.high);
  }
  const auto samples = static_cast<std::size_t>(x.shape()[0]);
  const std::size_t size = static_cast<std::size_t>(x.elements()) / samples;
  const auto from = x.values<float>();
  std::vector<double> change(samples * size);
  const auto of_sample = [&](std::size_t n) {
    return std::span<double>(change).subspan(n * size, size);
  };
  if (options.random_start) {
    PhiloxStream random = stream_of_draw(*options.random_start, 0);
    for (double& d : change) d = options.radius * (2 * random.uniform_f64() - 1);
    for (std::size_t n = 0; n < samples; ++n) project(of_sample(n), options);
  }
  Tensor now(x.type());
  const auto place = [&] {
    for (std::size_t i = 0; i < change.size(); ++i) {
      const double v = std::clamp(from[i] + change[i], options.low, options.high);
      now.values<float>()[i] = static_cast<float>(v);
      change[i] = v - from[i];
    }
  };
  place();
  const double direction = options.targeted ? -1 : 1;
  for (int k = 0; k < options.steps; ++k) {
    const Tensor gradient = loss_gradient(now);
    const auto g = gradient.values<float>();
    for (std::size_t n = 0; n < samples; ++n) {
      const std::vector<double> slope(g.begin() + static_cast<std::ptrdiff_t>(n * size),
                                      g.begin() + static_cast<std::ptrdiff_t>((n + 1) * size));
      const double norm = length(slope);
      if (!std::isfinite(norm)) {
        throw failure(
            "[pgd] the loss's gradient of sample {} is not finite at step {}; attack a "
            "log-probability of logits, not the logarithm of a probability",
            n, k);
      }
      const std::span<double> d = of_sample(n);
      for (std::size_t i = 0; i < size; ++i) {
        const double sign = slope[i] > 0 ? 1 : slope[i] < 0 ? -1 : 0;
        const double along = options.norm == Norm::linf ? sign : norm > 0 ? slope[i] / norm : 0;
        d[i] += direction * options.step * along;
      }
      project(d, options);
    }
    place();
  }
  return now;
}

}  // namespace tapescope::explain
