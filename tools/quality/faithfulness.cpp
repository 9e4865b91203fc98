#include "tools/quality/faithfulness.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "tools/quality/map_metrics.h"

namespace tapescope::quality {
namespace {

std::size_t positions(const Tensor& x) {
  return static_cast<std::size_t>(x.shape()[1] * x.shape()[2]);
}

void require_one_picture(const Tensor& x, const Map& map) {
  const Shape& s = x.shape();
  if (s.rank() == 4 && s[0] == 1 && s[1] == map.height && s[2] == map.width) return;
  throw usage_error("[quality] one picture {{1,{},{},C}} is wanted for this map, got {}",
                    map.height, map.width, to_string(s));
}

// Scores of pictures 0..count-1, `chunk` of them in a run. fill(k, out) writes picture k {H,W,C}.
std::vector<double> score_all(const Scores& scores, const Tensor& like, int count, int chunk,
                              const std::function<void(int, float*)>& fill) {
  std::vector<double> result;
  const Shape& s = like.shape();
  for (int begin = 0; begin < count; begin += chunk) {
    const int pictures = std::min(chunk, count - begin);
    Tensor rows(Type{DType::f32, {pictures, s[1], s[2], s[3]}});
    for (int k = 0; k < pictures; ++k) {
      fill(begin + k, rows.values<float>().data() + k * like.elements());
    }
    const Tensor values = scores(rows);
    for (int k = 0; k < pictures; ++k) result.push_back(values.item(k));
  }
  return result;
}

// `from` with its first positions of the order replaced by those of `to`, step by step.
Curve replaced_in_order(const Scores& scores, const Tensor& from, const Tensor& to, const Map& map,
                        int steps, int chunk) {
  require_one_picture(from, map);
  const std::vector<std::size_t> order = descending(map);
  const auto channels = static_cast<std::size_t>(from.shape()[3]);
  Curve curve;
  const auto replaced = [&](int k) {
    return order.size() * static_cast<std::size_t>(k) / static_cast<std::size_t>(steps);
  };
  curve.score = score_all(scores, from, steps + 1, chunk, [&](int k, float* out) {
    std::copy_n(from.values<float>().data(), from.elements(), out);
    for (std::size_t i = 0; i < replaced(k); ++i) {
      std::copy_n(to.values<float>().data() + order[i] * channels, channels,
                  out + order[i] * channels);
    }
  });
  for (int k = 0; k <= steps; ++k) {
    curve.share.push_back(static_cast<double>(replaced(k)) / static_cast<double>(order.size()));
    if (k == 0) continue;
    const auto i = static_cast<std::size_t>(k);
    curve.area += (curve.share[i] - curve.share[i - 1]) * (curve.score[i] + curve.score[i - 1]) / 2;
  }
  return curve;
}

}  // namespace

Curve deletion(const Scores& scores, const Tensor& x, const Tensor& baseline, const Map& map,
               int steps, int chunk) {
  return replaced_in_order(scores, x, baseline, map, steps, chunk);
}

Curve insertion(const Scores& scores, const Tensor& x, const Tensor& baseline, const Map& map,
                int steps, int chunk) {
  return replaced_in_order(scores, baseline, x, map, steps, chunk);
}

namespace {

// {H,W,C}, and which of its pixels are to be found from their neighbours.
struct Holes {
  std::int64_t height, width, channels;
  const std::vector<bool>& removed;
  std::vector<double> value;

  std::size_t at(std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>(y * width + x);
  }
  double& of(std::int64_t y, std::int64_t x, std::int64_t channel) {
    return value[at(y, x) * static_cast<std::size_t>(channels) + static_cast<std::size_t>(channel)];
  }

  void fill_with_means() {
    const auto kept = std::count(removed.begin(), removed.end(), false);
    const auto step = static_cast<std::size_t>(channels);
    for (std::size_t c = 0; c < step; ++c) {
      double sum = 0;
      for (std::size_t p = 0; p < removed.size(); ++p) {
        if (!removed[p]) sum += value[p * step + c];
      }
      const double mean = kept > 0 ? sum / static_cast<double>(kept) : 0;
      for (std::size_t p = 0; p < removed.size(); ++p) {
        if (removed[p]) value[p * step + c] = mean;
      }
    }
  }

  // The mean of the eight neighbours, those at a side counting twice.
  double around(std::int64_t y, std::int64_t x, std::int64_t channel) {
    double sum = 0, weights = 0;
    for (std::int64_t dy = -1; dy <= 1; ++dy) {
      for (std::int64_t dx = -1; dx <= 1; ++dx) {
        const std::int64_t r = y + dy, q = x + dx;
        if ((dy == 0 && dx == 0) || r < 0 || q < 0 || r >= height || q >= width) continue;
        const double weight = dy == 0 || dx == 0 ? 2 : 1;
        sum += weight * of(r, q, channel);
        weights += weight;
      }
    }
    return sum / weights;
  }

  // One sweep of successive over-relaxation; the largest change.
  double sweep() {
    constexpr double kRelaxation = 1.8;
    double change = 0;
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        if (!removed[at(y, x)]) continue;
        for (std::int64_t channel = 0; channel < channels; ++channel) {
          double& old = of(y, x, channel);
          const double step = kRelaxation * (around(y, x, channel) - old);
          change = std::max(change, std::fabs(step));
          old += step;
        }
      }
    }
    return change;
  }
};

}  // namespace

Tensor imputed(const Tensor& x, const std::vector<bool>& removed, std::uint64_t seed) {
  const auto from = x.values<float>();
  Holes holes{x.shape()[1], x.shape()[2], x.shape()[3], removed, {from.begin(), from.end()}};
  // Start from the mean of what is left: the sweeps below then have little to carry far.
  holes.fill_with_means();
  // A diagonally dominant system, whose exact solution is never needed to better than the noise
  // that is added.
  constexpr double kEnough = 1e-4;
  constexpr int kMostSweeps = 500;
  const bool any_kept = std::count(removed.begin(), removed.end(), false) > 0;
  double change = 1;
  for (int sweep = 0; any_kept && sweep < kMostSweeps && change > kEnough; ++sweep) {
    change = holes.sweep();
  }
  PhiloxStream random(seed);
  Tensor result(x.type());
  for (std::size_t i = 0; i < holes.value.size(); ++i) {
    const bool noisy = removed[i / static_cast<std::size_t>(holes.channels)];
    result.values<float>()[i] =
        noisy ? static_cast<float>(holes.value[i] + 0.01 * random.normal()) : from[i];
  }
  return result;
}

double road(const Scores& scores, const Tensor& x, const Map& map, std::uint64_t seed, int chunk) {
  require_one_picture(x, map);
  const std::vector<std::size_t> order = descending(map);
  constexpr double kShares[] = {0.1, 0.3, 0.5, 0.7, 0.9};
  constexpr int kCount = 5;
  // Pictures 0..4 lose the most relevant positions, 5..9 the least relevant.
  std::vector<Tensor> pictures(std::size_t{2} * kCount);
  parallel_for(2 * kCount, [&](std::int64_t k) {
    std::vector<bool> removed(order.size());
    const auto count =
        static_cast<std::size_t>(kShares[k % kCount] * static_cast<double>(order.size()));
    for (std::size_t i = 0; i < count; ++i) {
      removed[k < kCount ? order[i] : order[order.size() - 1 - i]] = true;
    }
    pictures[static_cast<std::size_t>(k)] = imputed(x, removed, seed);
  });
  const std::vector<double> score = score_all(scores, x, 2 * kCount, chunk, [&](int k, float* out) {
    const Tensor& picture = pictures[static_cast<std::size_t>(k)];
    std::copy_n(picture.values<float>().data(), picture.elements(), out);
  });
  double sum = 0;
  for (std::size_t i = 0; i < kCount; ++i) sum += (score[kCount + i] - score[i]) / 2;
  return sum / kCount;
}

double infidelity(const std::vector<double>& promised, const std::vector<double>& actual) {
  double sum = 0;
  for (std::size_t i = 0; i < promised.size(); ++i) {
    sum += (promised[i] - actual[i]) * (promised[i] - actual[i]);
  }
  return sum / static_cast<double>(promised.size());
}

double normalised_infidelity(const std::vector<double>& promised,
                             const std::vector<double>& actual) {
  double pp = 0, pa = 0, aa = 0;
  for (std::size_t i = 0; i < promised.size(); ++i) {
    pp += promised[i] * promised[i];
    pa += promised[i] * actual[i];
    aa += actual[i] * actual[i];
  }
  if (!(aa > 0)) return std::numeric_limits<double>::quiet_NaN();
  if (!std::isfinite(pp)) return 1;
  // A negative scale would turn the map round: such a map is worth no more than none.
  return pp > 0 && pa > 0 ? 1 - pa * pa / (pp * aa) : 1;
}

double normalised_infidelity_error(const std::vector<double>& promised,
                                   const std::vector<double>& actual) {
  const auto n = static_cast<double>(promised.size());
  double pp = 0, pa = 0, aa = 0;
  for (std::size_t i = 0; i < promised.size(); ++i) {
    pp += promised[i] * promised[i] / n;
    pa += promised[i] * actual[i] / n;
    aa += actual[i] * actual[i] / n;
  }
  if (n < 2 || !(aa > 0) || !std::isfinite(pp)) return std::numeric_limits<double>::quiet_NaN();
  if (!(pp > 0)) return 0;  // a map of zeros promises nothing, whatever is drawn
  // 1 - pa^2 / (pp aa), by how much a draw moves it through each of the three means.
  double squares = 0;
  for (std::size_t i = 0; i < promised.size(); ++i) {
    const double p = promised[i], a = actual[i];
    const double moved = (pa / (pp * aa)) * (pa / pp * p * p + pa / aa * a * a - 2 * p * a);
    squares += moved * moved;
  }
  return std::sqrt(squares / n / (n - 1));
}

Drawn square_infidelity(const Scores& scores, const Tensor& x, const Tensor& baseline,
                        const Map& map, int draws, std::uint64_t seed, int chunk) {
  require_one_picture(x, map);
  const int side = std::max(1, std::min(map.height, map.width) / 4);
  struct Corner {
    int top, left;
  };
  PhiloxStream random(seed);
  std::vector<Corner> squares;
  std::vector<double> promised, actual;
  for (int k = 0; k < draws; ++k) {
    // The end of a square may lie beyond the border: positions there count as often as others.
    const int top =
        static_cast<int>(random.below(static_cast<std::uint32_t>(map.height + side - 1)));
    const int left =
        static_cast<int>(random.below(static_cast<std::uint32_t>(map.width + side - 1)));
    squares.push_back({top - side + 1, left - side + 1});
  }
  const auto inside = [&](const Corner& corner, std::size_t p) {
    const int y = static_cast<int>(p) / map.width - corner.top;
    const int c = static_cast<int>(p) % map.width - corner.left;
    return y >= 0 && y < side && c >= 0 && c < side;
  };
  const auto channels = static_cast<std::size_t>(x.shape()[3]);
  const std::vector<double> score = score_all(scores, x, draws + 1, chunk, [&](int k, float* out) {
    std::copy_n(x.values<float>().data(), x.elements(), out);
    if (k == 0) return;
    for (std::size_t p = 0; p < positions(x); ++p) {
      if (!inside(squares[static_cast<std::size_t>(k - 1)], p)) continue;
      std::copy_n(baseline.values<float>().data() + p * channels, channels, out + p * channels);
    }
  });
  for (std::size_t k = 0; k < squares.size(); ++k) {
    double sum = 0;
    for (std::size_t p = 0; p < map.values.size(); ++p) {
      if (inside(squares[k], p)) sum += map.values[p];
    }
    promised.push_back(sum);
    actual.push_back(score[0] - score[k + 1]);
  }
  return {normalised_infidelity(promised, actual), normalised_infidelity_error(promised, actual)};
}

double max_sensitivity(const MapOf& map_of, const Tensor& x, const Map& map, double radius,
                       int draws, std::uint64_t seed) {
  const auto values = x.values<float>();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double reach = radius * (*high - *low);
  double norm = 0;
  for (float v : map.values) norm += static_cast<double>(v) * v;
  double largest = 0;
  for (int k = 0; k < draws; ++k) {
    PhiloxStream random = explain::stream_of_draw(seed, k);
    Tensor moved(x.type());
    for (std::size_t i = 0; i < values.size(); ++i) {
      moved.values<float>()[i] =
          static_cast<float>(values[i] + reach * (2 * random.uniform_f64() - 1));
    }
    const Map other = map_of(moved);
    double change = 0;
    for (std::size_t i = 0; i < map.values.size(); ++i) {
      const double d = static_cast<double>(other.values[i]) - map.values[i];
      change += d * d;
    }
    if (change == 0) continue;
    const double ratio = std::sqrt(change / norm);
    // NaN on either side is the worst there is.
    largest =
        std::isnan(ratio) ? std::numeric_limits<double>::infinity() : std::max(largest, ratio);
    if (std::isinf(largest)) break;
  }
  return largest;
}

}  // namespace tapescope::quality
