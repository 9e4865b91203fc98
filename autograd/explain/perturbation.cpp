#include "autograd/explain/perturbation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/error.h"
#include "engine/philox.h"

namespace tapescope::explain {
namespace {

std::int64_t positions(const Tensor& x) { return x.shape()[1] * x.shape()[2]; }

Tensor empty_map(const Tensor& x) {
  return Tensor::zeros({DType::f32, {x.shape()[0], x.shape()[1], x.shape()[2], 1}});
}

// Scores of `count` changed pictures: share(k, p) is how much of position p comes from x, the rest
// from the baseline. read(k, n, score) in order; where the scores are of several targets, n counts
// samples and targets within them.
void score_blends(const Scores& scores, const Tensor& x, const Tensor& baseline, int count,
                  int chunk, const std::function<float(int, std::int64_t)>& share,
                  const std::function<void(int, std::int64_t, double)>& read,
                  std::int64_t targets = 1) {
  const std::int64_t samples = x.shape()[0], places = positions(x), channels = x.shape()[3];
  const auto from = baseline.values<float>();
  const bool shared = baseline.shape()[0] == 1;
  for (int begin = 0; begin < count; begin += chunk) {
    const int pictures = std::min(chunk, count - begin);
    Tensor rows(Type{DType::f32, {samples * pictures, x.shape()[1], x.shape()[2], channels}});
    float* out = rows.values<float>().data();  // {pictures, N, H*W, C}
    for (int k = begin; k < begin + pictures; ++k) {
      for (std::int64_t n = 0; n < samples; ++n) {
        for (std::int64_t p = 0; p < places; ++p) {
          const float kept = share(k, p);
          for (std::int64_t c = 0; c < channels; ++c) {
            const std::int64_t i = p * channels + c;
            const auto at = static_cast<std::size_t>(n * places * channels + i);
            const float base = from[shared ? static_cast<std::size_t>(i) : at];
            // Exactly x or the baseline at the ends.
            *out++ =
                kept == 1 ? x.values<float>()[at] : base + kept * (x.values<float>()[at] - base);
          }
        }
      }
    }
    const Tensor values = scores(rows);
    const std::int64_t rows_read = samples * targets;
    for (int k = 0; k < pictures; ++k) {
      for (std::int64_t n = 0; n < rows_read; ++n)
        read(begin + k, n, values.item(k * rows_read + n));
    }
  }
}

void require_size(const Segments& segments, const Tensor& x) {
  if (segments.height == x.shape()[1] && segments.width == x.shape()[2]) return;
  throw usage_error("[segments] they are {}x{}, the pictures {}x{}; give one id a pixel",
                    segments.height, segments.width, x.shape()[1], x.shape()[2]);
}

}  // namespace

Tensor repeated_rows(const Tensor& tensor, std::int64_t times) {
  Shape shape = tensor.shape();
  const std::int64_t rows = shape[0];
  shape[0] = rows * times;
  Tensor result(Type{tensor.dtype(), shape});
  for (std::int64_t i = 0; i < times; ++i) {
    Tensor part = result.rows(i * rows, (i + 1) * rows);
    part.copy_from(tensor);
  }
  return result;
}

Windows windows_of(std::int64_t height, std::int64_t width, std::int64_t window,
                   std::int64_t stride) {
  if (window < 1 || stride < 1) {
    throw usage_error("[occlusion] window {} and stride {}: both must be at least 1", window,
                      stride);
  }
  const auto starts = [&](std::int64_t extent, std::int64_t size) {
    std::vector<std::int64_t> all;
    for (std::int64_t at = 0; at + size < extent; at += stride) all.push_back(at);
    all.push_back(extent - size);
    return all;
  };
  const std::int64_t h = std::min(window, height), w = std::min(window, width);
  return {starts(height, h), starts(width, w), h, w};
}

Estimate mean_over_windows(const Tensor& x, const Windows& windows, const Tensor& whole,
                           const Tensor& scores) {
  const std::int64_t samples = x.shape()[0], width = x.shape()[2];
  const auto places = static_cast<std::size_t>(positions(x));
  std::vector<double> sum(places * static_cast<std::size_t>(samples)), covered(sum.size());
  for (int k = 0; k < windows.count(); ++k) {
    const Corner at = windows.corner(k);
    for (std::int64_t n = 0; n < samples; ++n) {
      const double change = whole.item(n) - scores.item(k * samples + n);
      for (std::int64_t y = at.y; y < at.y + windows.height; ++y) {
        for (std::int64_t c = at.x; c < at.x + windows.width; ++c) {
          const std::size_t i =
              static_cast<std::size_t>(n) * places + static_cast<std::size_t>(y * width + c);
          sum[i] += change;
          covered[i] += 1;
        }
      }
    }
  }
  Estimate result{empty_map(x), Tensor::zeros({DType::f32, {samples}}), windows.count() + 1};
  for (std::size_t i = 0; i < sum.size(); ++i) {
    // A stride beyond the window leaves positions that no window covers.
    result.map.values<float>()[i] = covered[i] > 0 ? static_cast<float>(sum[i] / covered[i]) : 0.0f;
  }
  return result;
}

Estimate occlusion(const Scores& scores, const Tensor& x, const Tensor& baseline,
                   const Windows& windows, int chunk) {
  const std::int64_t samples = x.shape()[0], width = x.shape()[2];
  Tensor whole(Type{DType::f32, {samples}});
  Tensor covered(Type{DType::f32, {windows.count() * samples}});
  score_blends(
      scores, x, baseline, windows.count() + 1, chunk,
      [&](int k, std::int64_t p) {  // picture 0 is x itself
        if (k == 0) return 1.0f;
        const Corner at = windows.corner(k - 1);
        const std::int64_t y = p / width - at.y, c = p % width - at.x;
        return y >= 0 && y < windows.height && c >= 0 && c < windows.width ? 0.0f : 1.0f;
      },
      [&](int k, std::int64_t n, double score) {
        Tensor& to = k == 0 ? whole : covered;
        to.values<float>()[static_cast<std::size_t>((k == 0 ? 0 : k - 1) * samples + n)] =
            static_cast<float>(score);
      });
  return mean_over_windows(x, windows, whole, covered);
}

Estimate feature_ablation(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, int chunk) {
  require_size(segments, x);
  Estimate result{empty_map(x), Tensor::zeros({DType::f32, {x.shape()[0]}}), segments.count + 1};
  const auto places = segments.id.size();
  std::vector<double> whole(static_cast<std::size_t>(x.shape()[0]));
  score_blends(
      scores, x, baseline, segments.count + 1, chunk,
      [&](int k, std::int64_t p) {
        return segments.id[static_cast<std::size_t>(p)] == k - 1 ? 0.0f : 1.0f;
      },
      [&](int k, std::int64_t n, double score) {
        const auto row = static_cast<std::size_t>(n);
        if (k == 0) whole[row] = score;
        for (std::size_t p = 0; p < places; ++p) {
          if (segments.id[p] != k - 1) continue;
          result.map.values<float>()[row * places + p] = static_cast<float>(whole[row] - score);
        }
      });
  return result;
}

Estimate rise(const Scores& scores, const Tensor& x, const Tensor& baseline, int cells, int masks,
              std::uint64_t seed, int chunk, std::int64_t targets) {
  const std::int64_t height = x.shape()[1], width = x.shape()[2];
  const auto places = static_cast<std::size_t>(positions(x));
  // Each mask as shares of {H,W}, made when its picture is and dropped when its score is known.
  std::map<int, std::vector<float>> made;
  const auto mask_of = [&](int k) -> const std::vector<float>& {
    std::vector<float>& mask = made[k];
    if (!mask.empty()) return mask;
    PhiloxStream random = stream_of_draw(seed, k);
    const int side = cells + 1;  // one more, for the shift
    std::vector<float> cell(static_cast<std::size_t>(side * side));
    for (float& v : cell) v = random.below(2) == 1 ? 1.0f : 0.0f;
    const double dy = random.uniform_f64(), dx = random.uniform_f64();  // in cells
    const auto value = [&](int r, int c) {
      return cell[static_cast<std::size_t>(std::clamp(r, 0, side - 1) * side +
                                           std::clamp(c, 0, side - 1))];
    };
    mask.resize(places);
    for (std::int64_t p = 0; p < height * width; ++p) {
      const double y =
          (static_cast<double>(p / width) + 0.5) * cells / static_cast<double>(height) + dy - 0.5;
      const double c =
          (static_cast<double>(p % width) + 0.5) * cells / static_cast<double>(width) + dx - 0.5;
      const int y0 = static_cast<int>(std::floor(y)), c0 = static_cast<int>(std::floor(c));
      const double fy = y - y0, fc = c - c0;
      mask[static_cast<std::size_t>(p)] =
          static_cast<float>((1 - fy) * ((1 - fc) * value(y0, c0) + fc * value(y0, c0 + 1)) +
                             fy * ((1 - fc) * value(y0 + 1, c0) + fc * value(y0 + 1, c0 + 1)));
    }
    return mask;
  };
  const auto maps = static_cast<std::size_t>(x.shape()[0] * targets);
  // Sums over masks of m, F and F m, from which comes the map; the scores are kept for its error.
  std::vector<double> kept(places), score_sum(maps), products(maps * places), all_scores;
  all_scores.reserve(static_cast<std::size_t>(masks) * maps);
  score_blends(
      scores, x, baseline, masks, chunk,
      [&](int k, std::int64_t p) { return mask_of(k)[static_cast<std::size_t>(p)]; },
      [&](int k, std::int64_t n, double score) {
        const std::vector<float>& mask = mask_of(k);
        const auto row = static_cast<std::size_t>(n);
        all_scores.push_back(score);
        score_sum[row] += score;
        for (std::size_t p = 0; p < places; ++p) {
          if (row == 0) kept[p] += mask[p];
          products[row * places + p] += score * mask[p];
        }
        if (row + 1 == maps) made.erase(k);
      },
      targets);
  // The map is a ratio of means less a mean: to first order a mask's part in its error is
  // m (F - mean(F m) / mean(m)) / mean(m) - (F - mean(F)), whose sum over the masks is 0.
  std::vector<double> squares(maps * places);
  for (int k = 0; k < masks; ++k) {
    const std::vector<float>& mask = mask_of(k);
    for (std::size_t n = 0; n < maps; ++n) {
      const double score = all_scores[static_cast<std::size_t>(k) * maps + n];
      const double beside = score - score_sum[n] / masks;
      for (std::size_t p = 0; p < places; ++p) {
        const double part =
            mask[p] * (score - products[n * places + p] / kept[p]) * masks / kept[p] - beside;
        squares[n * places + p] += part * part;
      }
    }
    made.erase(k);
  }
  const auto rows = static_cast<std::int64_t>(maps);
  Estimate result{Tensor::zeros({DType::f32, {rows, height, width, 1}}),
                  Tensor::zeros({DType::f32, {rows}}), masks};
  for (std::size_t n = 0; n < maps; ++n) {
    double worst = masks > 1 ? 0 : kUnknown;
    for (std::size_t p = 0; p < places; ++p) {
      const double square = kept[p] > 0 ? squares[n * places + p] : kUnknown;  // never kept
      worst = larger_error(worst, std::sqrt(square / masks / std::max(1, masks - 1)));
      if (kept[p] == 0) continue;
      result.map.values<float>()[n * places + p] =
          static_cast<float>(products[n * places + p] / kept[p] - score_sum[n] / masks);
    }
    result.error.values<float>()[n] = static_cast<float>(worst);
  }
  return result;
}

Estimate shapley_sampling(const Scores& scores, const Tensor& x, const Tensor& baseline,
                          const Segments& segments, double forwards, std::uint64_t seed,
                          int chunk) {
  require_size(segments, x);
  const int count = segments.count;
  const int pairs = std::max(1, static_cast<int>(forwards / (2.0 * (count + 1))));
  const auto samples = static_cast<std::size_t>(x.shape()[0]);
  const auto features = static_cast<std::size_t>(count);
  // Of the means over a permutation and its reverse: those are what is independent.
  std::vector<double> sum(samples * features), squares(sum.size()), pair(sum.size());
  PhiloxStream random(seed);
  std::vector<int> order(features);
  for (int draw = 0; draw < 2 * pairs; ++draw) {
    if (draw % 2 == 0) {
      std::iota(order.begin(), order.end(), 0);
      for (std::size_t i = features; i > 1; --i) {
        std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
      }
      std::fill(pair.begin(), pair.end(), 0.0);
    } else {
      std::reverse(order.begin(), order.end());
    }
    std::vector<int> rank(features);
    for (std::size_t i = 0; i < features; ++i) {
      rank[static_cast<std::size_t>(order[i])] = static_cast<int>(i);
    }
    std::vector<double> before(samples);
    score_blends(
        scores, x, baseline, count + 1, chunk,
        [&](int k, std::int64_t p) {  // the first k features of the order are the picture's
          const int id = segments.id[static_cast<std::size_t>(p)];
          return rank[static_cast<std::size_t>(id)] < k ? 1.0f : 0.0f;
        },
        [&](int k, std::int64_t n, double score) {
          const auto row = static_cast<std::size_t>(n);
          if (k > 0) {
            const auto feature = static_cast<std::size_t>(order[static_cast<std::size_t>(k - 1)]);
            pair[row * features + feature] += (score - before[row]) / 2;
          }
          before[row] = score;
        });
    if (draw % 2 == 0) continue;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] += pair[i];
      squares[i] += pair[i] * pair[i];
    }
  }
  Estimate result{empty_map(x), Tensor::zeros({DType::f32, {x.shape()[0]}}),
                  2 * pairs * (count + 1)};
  const std::vector<double> size = segments.sizes();
  const auto places = segments.id.size();
  for (std::size_t n = 0; n < samples; ++n) {
    // A permutation of one or two features and its reverse are all there are.
    double worst = pairs > 1 || count <= 2 ? 0 : kUnknown;
    for (std::size_t p = 0; p < places; ++p) {
      const auto feature = static_cast<std::size_t>(segments.id[p]);
      const double mean = sum[n * features + feature] / pairs;
      // Not std::max, which would make 0 of a NaN.
      const double spread = squares[n * features + feature] / pairs - mean * mean;
      const double variance = spread < 0 ? 0 : spread;
      if (pairs > 1 && count > 2) {
        worst = larger_error(worst, std::sqrt(variance / (pairs - 1)) / size[feature]);
      }
      // Spread evenly over its positions, so that the map sums to the change.
      result.map.values<float>()[n * places + p] = static_cast<float>(mean / size[feature]);
    }
    result.error.values<float>()[n] = static_cast<float>(worst);
  }
  return result;
}

std::vector<double> score_coalitions(const Scores& scores, const Tensor& x, const Tensor& baseline,
                                     const Segments& segments, const Coalitions& coalitions,
                                     int chunk) {
  require_size(segments, x);
  std::vector<double> result;
  score_blends(
      scores, x, baseline, static_cast<int>(coalitions.size()), chunk,
      [&](int k, std::int64_t p) {
        const auto id = static_cast<std::size_t>(segments.id[static_cast<std::size_t>(p)]);
        return coalitions[static_cast<std::size_t>(k)][id] ? 1.0f : 0.0f;
      },
      [&](int, std::int64_t, double score) { result.push_back(score); });
  return result;
}

}  // namespace tapescope::explain
