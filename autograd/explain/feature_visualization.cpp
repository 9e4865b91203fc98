#include "autograd/explain/feature_visualization.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

// Calls tap(output position, input position, weight) for the four inputs of every output.
template <class Tap>
void each_tap(const Shape& shape, const Placement& p, Tap&& tap) {
  constexpr double kDegree = 0.017453292519943295;
  const std::int64_t height = shape[1], width = shape[2];
  const double middle_y = (static_cast<double>(height) - 1) / 2,
               middle_x = (static_cast<double>(width) - 1) / 2;
  const double cosine = std::cos(p.degrees * kDegree) / p.factor,
               sine = std::sin(p.degrees * kDegree) / p.factor;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const double dy = static_cast<double>(y) - middle_y - p.shift_y,
                   dx = static_cast<double>(x) - middle_x - p.shift_x;
      const double from_y =
          std::clamp(middle_y + cosine * dy - sine * dx, 0.0, static_cast<double>(height - 1));
      const double from_x =
          std::clamp(middle_x + sine * dy + cosine * dx, 0.0, static_cast<double>(width - 1));
      const auto y0 = static_cast<std::int64_t>(from_y), x0 = static_cast<std::int64_t>(from_x);
      const std::int64_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
      const double fy = from_y - static_cast<double>(y0), fx = from_x - static_cast<double>(x0);
      const std::int64_t to = y * width + x;
      tap(to, y0 * width + x0, (1 - fy) * (1 - fx));
      tap(to, y0 * width + x1, (1 - fy) * fx);
      tap(to, y1 * width + x0, fy * (1 - fx));
      tap(to, y1 * width + x1, fy * fx);
    }
  }
}

// One grid of the pyramid: a value a block of side x side pixels and channel.
struct Grid {
  std::int64_t side = 1, height = 1, width = 1;
  std::vector<double> value, first, second;  // {height,width,C}; Adam's moments
};

std::vector<Grid> pyramid(const Shape& shape, std::uint64_t seed) {
  std::vector<Grid> grids;
  for (std::int64_t side = 1; side < 2 * std::max(shape[1], shape[2]); side *= 2) {
    Grid grid;
    grid.side = side;
    grid.height = (shape[1] + side - 1) / side;
    grid.width = (shape[2] + side - 1) / side;
    const auto count = static_cast<std::size_t>(grid.height * grid.width * shape[3]);
    PhiloxStream random(mix(seed, static_cast<std::uint64_t>(side)));
    for (std::size_t i = 0; i < count; ++i) grid.value.push_back(0.01 * random.normal());
    grid.first.assign(count, 0);
    grid.second.assign(count, 0);
    grids.push_back(std::move(grid));
  }
  return grids;
}

// Calls each(pixel element, grid element) for every element of the picture.
template <class Each>
void each_element(const Shape& shape, const Grid& grid, Each&& each) {
  std::size_t at = 0;
  for (std::int64_t y = 0; y < shape[1]; ++y) {
    for (std::int64_t x = 0; x < shape[2]; ++x) {
      const std::int64_t block = (y / grid.side) * grid.width + x / grid.side;
      for (std::int64_t c = 0; c < shape[3]; ++c) {
        each(at++, static_cast<std::size_t>(block * shape[3] + c));
      }
    }
  }
}

// Sum of the grids; the picture is its sigmoid.
std::vector<double> logits_of(const std::vector<Grid>& grids, const Shape& shape) {
  std::vector<double> sum(static_cast<std::size_t>(shape[1] * shape[2] * shape[3]));
  for (const Grid& grid : grids) {
    each_element(shape, grid, [&](std::size_t p, std::size_t g) { sum[p] += grid.value[g]; });
  }
  return sum;
}

Tensor picture_of(const std::vector<double>& logits, const Shape& shape) {
  Tensor picture(Type{DType::f32, shape});
  for (std::size_t i = 0; i < logits.size(); ++i) {
    picture.values<float>()[i] = static_cast<float>(1 / (1 + std::exp(-logits[i])));
  }
  return picture;
}

}  // namespace

Tensor placed(const Tensor& x, const Placement& placement) {
  const auto channels = static_cast<std::size_t>(x.shape()[3]);
  Tensor y = Tensor::zeros(x.type());
  each_tap(x.shape(), placement, [&](std::int64_t to, std::int64_t from, double weight) {
    for (std::size_t c = 0; c < channels; ++c) {
      y.values<float>()[static_cast<std::size_t>(to) * channels + c] += static_cast<float>(
          weight * x.values<float>()[static_cast<std::size_t>(from) * channels + c]);
    }
  });
  return y;
}

Tensor placed_transpose(const Tensor& g, const Placement& placement) {
  const auto channels = static_cast<std::size_t>(g.shape()[3]);
  Tensor x = Tensor::zeros(g.type());
  each_tap(g.shape(), placement, [&](std::int64_t to, std::int64_t from, double weight) {
    for (std::size_t c = 0; c < channels; ++c) {
      x.values<float>()[static_cast<std::size_t>(from) * channels + c] += static_cast<float>(
          weight * g.values<float>()[static_cast<std::size_t>(to) * channels + c]);
    }
  });
  return x;
}

Visualization visualize(const Objective& objective, const Shape& shape,
                        const VisualizationOptions& options) {
  if (shape.rank() != 4 || shape[0] != 1 || options.steps < 1 || !(options.rate > 0)) {
    throw usage_error(
        "[feature-visualization] picture {}, {} steps at rate {}: it climbs one "
        "picture {{1,H,W,C}}, at least one step, at a rate above 0",
        to_string(shape), options.steps, options.rate);
  }
  constexpr double kFirst = 0.9, kSecond = 0.999, kTiny = 1e-8;
  std::vector<Grid> grids = pyramid(shape, options.seed);
  PhiloxStream random(mix(options.seed, 0x766973));
  const auto between = [&](double most) { return most * (2 * random.uniform_f64() - 1); };
  Visualization result;
  for (int step = 1; step <= options.steps; ++step) {
    const std::vector<double> logits = logits_of(grids, shape);
    const Tensor picture = picture_of(logits, shape);
    Placement placement;
    placement.degrees = between(options.rotation);
    placement.factor = std::exp(between(std::log1p(options.scale)));
    placement.shift_y = between(options.jitter * static_cast<double>(shape[1]));
    placement.shift_x = between(options.jitter * static_cast<double>(shape[2]));
    const Climb climb = objective(placed(picture, placement));
    result.values.push_back(climb.value);
    const Tensor back = placed_transpose(climb.gradient, placement);
    const auto pixels = picture.values<float>();
    std::vector<double> slope(logits.size());
    double size = 0;
    for (std::size_t i = 0; i < slope.size(); ++i) {
      slope[i] = back.values<float>()[i] * static_cast<double>(pixels[i]) * (1 - pixels[i]);
      size += slope[i] * slope[i];
    }
    if (!std::isfinite(size)) {
      throw failure("[feature-visualization] the gradient is not finite at step {}", step);
    }
    for (Grid& grid : grids) {
      std::vector<double> of_grid(grid.value.size());
      each_element(shape, grid, [&](std::size_t p, std::size_t g) { of_grid[g] += slope[p]; });
      for (std::size_t i = 0; i < of_grid.size(); ++i) {
        grid.first[i] = kFirst * grid.first[i] + (1 - kFirst) * of_grid[i];
        grid.second[i] = kSecond * grid.second[i] + (1 - kSecond) * of_grid[i] * of_grid[i];
        const double m = grid.first[i] / (1 - std::pow(kFirst, step));
        const double v = grid.second[i] / (1 - std::pow(kSecond, step));
        grid.value[i] += options.rate * m / (std::sqrt(v) + kTiny);
        grid.value[i] *= 1 - options.decay;
      }
    }
  }
  result.picture = picture_of(logits_of(grids, shape), shape);
  return result;
}

}  // namespace tapescope::explain
