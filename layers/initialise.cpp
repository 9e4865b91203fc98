#include "layers/initialise.h"

#include <cmath>

namespace tapescope::initialise {

InitialValue he_normal(std::int64_t fan_in) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(fan_in));
  return [deviation](PhiloxStream& random) { return random.normal() * deviation; };
}

InitialValue uniform_fan_in(std::int64_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return [bound](PhiloxStream& random) { return (2 * random.uniform_f64() - 1) * bound; };
}

InitialValue constant(double value) {
  return [value](PhiloxStream&) { return value; };
}

}  // namespace tapescope::initialise
