#include "layers/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/error.h"

namespace tapescope {

void Schedule::check() const {
  if (name != "constant" && name != "step" && name != "cosine" && name != "one-cycle") {
    throw usage_error("unknown schedule '{}'; known are constant, step, cosine and one-cycle",
                      name);
  }
  if (!(peak > 0) || !std::isfinite(peak)) {
    throw usage_error("the learning rate is {}; it must be a positive number", peak);
  }
  if (!(warmup >= 0 && warmup < 1)) {
    throw usage_error("the warm-up takes {} of the steps; it must be at least 0 and below 1",
                      warmup);
  }
  if (!(factor > 0 && factor <= 1)) {
    throw usage_error("the learning rate falls by a factor of {}; it must be above 0 and at most 1",
                      factor);
  }
}

double Schedule::at(std::int64_t step) const {
  const double t = std::clamp(
      static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(steps, 1)), 0.0, 1.0);
  const auto cosine = [](double from, double to, double s) {
    return to + (from - to) * (1 + std::cos(std::numbers::pi * s)) / 2;
  };
  if (name == "constant") return peak;
  if (name == "step") return peak * (t < 0.5 ? 1 : t < 0.75 ? factor : factor * factor);
  if (name == "cosine") return cosine(peak, 0, t);
  if (t < warmup) return peak / 25 + (peak - peak / 25) * t / warmup;
  return cosine(peak, peak / 1e4, (t - warmup) / (1 - warmup));
}

}  // namespace tapescope
