#include "engine/philox.h"

#include <cmath>
#include <numbers>

namespace tapescope {

double PhiloxStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_f64()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform_f64());
}

void PhiloxStream::normals(std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_f64()));
    const double angle = 2.0 * std::numbers::pi * uniform_f64();
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < out.size()) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace tapescope
