#include "tools/quality/controls.h"

#include <algorithm>
#include <cmath>

#include "engine/philox.h"

namespace tapescope::quality {
namespace {

Map edges(const Tensor& x) {
  const int height = static_cast<int>(x.shape()[1]), width = static_cast<int>(x.shape()[2]);
  const auto channels = static_cast<std::size_t>(x.shape()[3]);
  const auto from = x.values<float>();
  const auto grey = [&](int y, int c) {
    y = std::clamp(y, 0, height - 1);
    c = std::clamp(c, 0, width - 1);
    double sum = 0;
    for (std::size_t k = 0; k < channels; ++k) {
      sum += from[static_cast<std::size_t>(y * width + c) * channels + k];
    }
    return sum / static_cast<double>(channels);
  };
  std::vector<float> values;
  for (int y = 0; y < height; ++y) {
    for (int c = 0; c < width; ++c) {
      double across = 0, down = 0;
      for (int d = -1; d <= 1; ++d) {
        const double weight = d == 0 ? 2 : 1;
        across += weight * (grey(y + d, c + 1) - grey(y + d, c - 1));
        down += weight * (grey(y + 1, c + d) - grey(y - 1, c + d));
      }
      values.push_back(static_cast<float>(std::hypot(across, down)));
    }
  }
  return Map(height, width, values);
}

}  // namespace

std::vector<Control> controls(const Tensor& x, std::uint64_t seed) {
  const int height = static_cast<int>(x.shape()[1]), width = static_cast<int>(x.shape()[2]);
  PhiloxStream random(mix(seed, stable_hash("control-random")));
  std::vector<float> noise, centre;
  for (int y = 0; y < height; ++y) {
    for (int c = 0; c < width; ++c) {
      noise.push_back(random.uniform());
      const double dy = (y + 0.5) / height - 0.5, dx = (c + 0.5) / width - 0.5;
      centre.push_back(static_cast<float>(std::exp(-8 * (dy * dy + dx * dx))));
    }
  }
  return {{"control-random", Map(height, width, noise)},
          {"control-centre", Map(height, width, centre)},
          {"control-edges", edges(x)}};
}

}  // namespace tapescope::quality
