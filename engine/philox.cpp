#include "engine/philox.h"

#include <cmath>
#include <numbers>

namespace tapescope {

double PhiloxStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_f64()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform_f64());
}

}  // namespace tapescope
