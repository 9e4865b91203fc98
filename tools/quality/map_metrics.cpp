#include "tools/quality/map_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/error.h"

namespace tapescope::quality {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void require_same_size(const Map& map, const Mask& mask) {
  if (map.height == mask.height && map.width == mask.width) return;
  throw usage_error("[mask] it is {}x{}, the map {}x{}; give one value per position", mask.height,
                    mask.width, map.height, map.width);
}

// Absolute values, smallest first.
std::vector<double> sorted_sizes(std::span<const float> values) {
  std::vector<double> sizes;
  sizes.reserve(values.size());
  for (float v : values) sizes.push_back(std::fabs(static_cast<double>(v)));
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

// Ranks from 1, equal values at the mean of theirs.
std::vector<double> ranks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + end + 1) / 2;
    for (std::size_t i = begin; i < end; ++i) result[order[i]] = rank;
    begin = end;
  }
  return result;
}

}  // namespace

Map channel_sum(const Tensor& map, Signs signs) {
  const Shape& s = map.shape();
  std::vector<float> sums(static_cast<std::size_t>(s[1] * s[2]), 0.0f);
  const auto values = map.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[i / static_cast<std::size_t>(s[3])] +=
        signs == Signs::kept ? values[i] : std::fabs(values[i]);
  }
  return Map(static_cast<int>(s[1]), static_cast<int>(s[2]), sums);
}

Map at_picture_size(const Tensor& map, int height, int width, Signs signs) {
  const Map sums = channel_sum(map, signs);
  if (sums.height == height && sums.width == width) return sums;
  return upsample(sums, height, width);
}

bool is_finite(const Map& map) {
  return std::all_of(map.values.begin(), map.values.end(),
                     [](float v) { return std::isfinite(v); });
}

double Mask::share() const {
  const auto inside = std::count(cause.begin(), cause.end(), true);
  return static_cast<double>(inside) / static_cast<double>(cause.size());
}

double pointing_game(const Map& map, const Mask& mask, double tolerance) {
  require_same_size(map, mask);
  if (!is_finite(map)) return 0;
  const float largest = *std::max_element(map.values.begin(), map.values.end());
  const int reach = static_cast<int>(tolerance);
  const auto near_cause = [&](int y, int x) {
    for (int dy = -reach; dy <= reach; ++dy) {
      for (int dx = -reach; dx <= reach; ++dx) {
        const int r = y + dy, c = x + dx;
        if (dy * dy + dx * dx > tolerance * tolerance) continue;
        if (r < 0 || c < 0 || r >= mask.height || c >= mask.width) continue;
        if (mask.cause[static_cast<std::size_t>(r * mask.width + c)]) return true;
      }
    }
    return false;
  };
  int hits = 0, tied = 0;
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    if (map.values[i] != largest) continue;
    ++tied;
    const int at = static_cast<int>(i);
    if (near_cause(at / map.width, at % map.width)) ++hits;
  }
  return static_cast<double>(hits) / tied;
}

double mass_accuracy(const Map& map, const Mask& mask) {
  require_same_size(map, mask);
  if (!is_finite(map)) return 0;
  double inside = 0, all = 0;
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const double positive = std::max(0.0f, map.values[i]);
    all += positive;
    if (mask.cause[i]) inside += positive;
  }
  return all > 0 ? inside / all : 0;
}

double rank_accuracy(const Map& map, const Mask& mask) {
  require_same_size(map, mask);
  const auto wanted =
      static_cast<std::size_t>(std::count(mask.cause.begin(), mask.cause.end(), true));
  if (!is_finite(map) || wanted == 0) return 0;
  const float edge = map.values[descending(map)[wanted - 1]];
  double above = 0, above_inside = 0, equal = 0, equal_inside = 0;
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const double inside = mask.cause[i] ? 1 : 0;
    if (map.values[i] > edge) {
      above += 1;
      above_inside += inside;
    } else if (map.values[i] == edge) {
      equal += 1;
      equal_inside += inside;
    }
  }
  const double area = static_cast<double>(wanted);
  return (above_inside + (area - above) * equal_inside / equal) / area;
}

double sparseness(std::span<const float> values) {
  const std::vector<double> sizes = sorted_sizes(values);
  const double n = static_cast<double>(sizes.size());
  double weighted = 0, sum = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    weighted += (2 * static_cast<double>(i + 1) - n - 1) * sizes[i];
    sum += sizes[i];
  }
  return sum > 0 ? weighted / (n * sum) : kNan;
}

double complexity(std::span<const float> values) {
  const std::vector<double> sizes = sorted_sizes(values);
  const double sum = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  if (!(sum > 0)) return kNan;
  double entropy = 0;
  for (double size : sizes) {
    if (size > 0) entropy -= size / sum * std::log(size / sum);
  }
  return entropy;
}

double rank_correlation(std::span<const float> a, std::span<const float> b) {
  const auto finite = [](float v) { return std::isfinite(v); };
  if (!std::all_of(a.begin(), a.end(), finite) || !std::all_of(b.begin(), b.end(), finite)) {
    return kNan;
  }
  const std::vector<double> ra = ranks(a), rb = ranks(b);
  const double mean = (static_cast<double>(a.size()) + 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < ra.size(); ++i) {
    ab += (ra[i] - mean) * (rb[i] - mean);
    aa += (ra[i] - mean) * (ra[i] - mean);
    bb += (rb[i] - mean) * (rb[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNan;
}

std::vector<std::size_t> descending(const Map& map) {
  std::vector<std::size_t> order(map.values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  // NaN compares with nothing: it would break the order, and is put last.
  const auto key = [&](std::size_t i) {
    return std::isnan(map.values[i]) ? -std::numeric_limits<float>::infinity() : map.values[i];
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return key(a) > key(b); });
  return order;
}

}  // namespace tapescope::quality
