#include "autograd/explain/segments.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "engine/error.h"

namespace tapescope::explain {

std::vector<double> Segments::sizes() const {
  std::vector<double> size(static_cast<std::size_t>(count));
  for (int feature : id) size[static_cast<std::size_t>(feature)] += 1;
  return size;
}

Segments Segments::grid(std::int64_t height, std::int64_t width, int rows, int columns) {
  const std::int64_t r = std::min<std::int64_t>(rows, height);
  const std::int64_t c = std::min<std::int64_t>(columns, width);
  Segments result{height, width, static_cast<int>(r * c), {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      result.id.push_back(static_cast<int>(y * r / height * c + x * c / width));
    }
  }
  return result;
}

Segments Segments::from_ids(std::int64_t height, std::int64_t width, const std::vector<int>& ids) {
  if (static_cast<std::int64_t>(ids.size()) != height * width) {
    throw usage_error("[segments] {} ids for {}x{} positions; give one id a position", ids.size(),
                      height, width);
  }
  Segments result{height, width, 0, {}};
  std::map<int, int> number;
  for (int id : ids) {
    const auto [found, added] = number.try_emplace(id, result.count);
    if (added) ++result.count;
    result.id.push_back(found->second);
  }
  return result;
}

namespace {

// Connected pieces of equal labels, 4-neighbours; labels anew from 0 in row order.
std::vector<int> pieces_of(const std::vector<int>& label, int height, int width,
                           std::vector<int>& sizes) {
  std::vector<int> piece(label.size(), -1), stack;
  for (int start = 0; start < height * width; ++start) {
    if (piece[static_cast<std::size_t>(start)] >= 0) continue;
    const int id = static_cast<int>(sizes.size());
    sizes.push_back(0);
    stack.push_back(start);
    piece[static_cast<std::size_t>(start)] = id;
    while (!stack.empty()) {
      const int at = stack.back();
      stack.pop_back();
      ++sizes[static_cast<std::size_t>(id)];
      const int y = at / width, x = at % width;
      const int next[4] = {y > 0 ? at - width : -1, x > 0 ? at - 1 : -1,
                           x + 1 < width ? at + 1 : -1, y + 1 < height ? at + width : -1};
      for (int other : next) {
        if (other < 0 || piece[static_cast<std::size_t>(other)] >= 0) continue;
        if (label[static_cast<std::size_t>(other)] != label[static_cast<std::size_t>(at)]) continue;
        piece[static_cast<std::size_t>(other)] = id;
        stack.push_back(other);
      }
    }
  }
  return piece;
}

}  // namespace

Segments Segments::slic(const Tensor& x, int count, double compactness) {
  const int height = static_cast<int>(x.shape()[1]), width = static_cast<int>(x.shape()[2]);
  const int channels = static_cast<int>(x.shape()[3]);
  const auto values = x.values<float>();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double range = *high > *low ? *high - *low : 1;
  // Distance between centres; the first centres lie on a grid.
  const double step = std::sqrt(static_cast<double>(height) * width / std::max(1, count));
  struct Centre {
    double y, x;
    std::vector<double> colour;
  };
  std::vector<Centre> centres;
  const auto colour = [&](int p, int c) {
    return values[static_cast<std::size_t>(p * channels + c)] / range;
  };
  for (double y = std::min(step / 2, height / 2.0); y < height; y += step) {
    for (double c = std::min(step / 2, width / 2.0); c < width; c += step) {
      Centre centre{y, c, {}};
      for (int k = 0; k < channels; ++k) {
        centre.colour.push_back(colour(static_cast<int>(y) * width + static_cast<int>(c), k));
      }
      centres.push_back(centre);
    }
  }
  std::vector<int> label(static_cast<std::size_t>(height * width), 0);
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> nearest(label.size(), std::numeric_limits<double>::infinity());
    for (std::size_t k = 0; k < centres.size(); ++k) {
      const Centre& centre = centres[k];
      // Two steps each way: every position lies within reach of some centre.
      const int top = std::max(0, static_cast<int>(centre.y - 2 * step));
      const int bottom = std::min(height - 1, static_cast<int>(centre.y + 2 * step));
      const int left = std::max(0, static_cast<int>(centre.x - 2 * step));
      const int right = std::min(width - 1, static_cast<int>(centre.x + 2 * step));
      for (int y = top; y <= bottom; ++y) {
        for (int c = left; c <= right; ++c) {
          const int p = y * width + c;
          const double dy = (y + 0.5 - centre.y) / step, dx = (c + 0.5 - centre.x) / step;
          double distance = compactness * compactness * (dy * dy + dx * dx);
          for (int q = 0; q < channels; ++q) {
            const double d = colour(p, q) - centre.colour[static_cast<std::size_t>(q)];
            distance += d * d / channels;
          }
          if (distance < nearest[static_cast<std::size_t>(p)]) {
            nearest[static_cast<std::size_t>(p)] = distance;
            label[static_cast<std::size_t>(p)] = static_cast<int>(k);
          }
        }
      }
    }
    std::vector<Centre> sums(centres.size(),
                             {0, 0, std::vector<double>(static_cast<std::size_t>(channels), 0.0)});
    std::vector<double> members(centres.size(), 0.0);
    for (int p = 0; p < height * width; ++p) {
      const auto k = static_cast<std::size_t>(label[static_cast<std::size_t>(p)]);
      members[k] += 1;
      sums[k].y += p / width + 0.5;
      sums[k].x += p % width + 0.5;
      for (int q = 0; q < channels; ++q)
        sums[k].colour[static_cast<std::size_t>(q)] += colour(p, q);
    }
    for (std::size_t k = 0; k < centres.size(); ++k) {
      if (members[k] == 0) continue;
      centres[k] = {sums[k].y / members[k], sums[k].x / members[k], sums[k].colour};
      for (double& v : centres[k].colour) v /= members[k];
    }
  }
  // Pieces below a quarter of the usual size go to the piece on their left or above, which is done
  // with by then, since pieces are numbered in row order.
  std::vector<int> sizes;
  std::vector<int> piece = pieces_of(label, height, width, sizes);
  std::vector<int> goes_to(sizes.size());
  std::vector<bool> seen(sizes.size(), false);
  for (int p = 0; p < height * width; ++p) {
    const auto id = static_cast<std::size_t>(piece[static_cast<std::size_t>(p)]);
    if (seen[id]) continue;
    seen[id] = true;
    const bool small = sizes[id] < step * step / 4;
    const int before = p % width > 0 ? p - 1 : p - width;
    goes_to[id] = small && before >= 0
                      ? goes_to[static_cast<std::size_t>(piece[static_cast<std::size_t>(before)])]
                      : static_cast<int>(id);
  }
  for (int& id : piece) id = goes_to[static_cast<std::size_t>(id)];
  return from_ids(height, width, piece);
}

}  // namespace tapescope::explain
