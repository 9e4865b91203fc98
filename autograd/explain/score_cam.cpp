#include "autograd/explain/score_cam.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"

namespace tapescope::explain {
namespace {

// Of one sample's features {1,h,w,K}: the channels with the largest mean |A_k|, strongest first.
std::vector<int> strongest(const Tensor& features, int most) {
  const auto channels = static_cast<std::size_t>(features.shape()[3]);
  std::vector<double> mass(channels);
  const auto a = features.values<float>();
  for (std::size_t i = 0; i < a.size(); ++i) mass[i % channels] += std::abs(a[i]);
  std::vector<int> order(channels);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int i, int j) {
    return mass[static_cast<std::size_t>(i)] > mass[static_cast<std::size_t>(j)];
  });
  order.resize(std::min(channels, static_cast<std::size_t>(std::max(1, most))));
  return order;
}

void require_feature_map(const Tensor& features, std::string_view method) {
  if (features.shape().rank() == 4) return;
  throw usage_error(
      "[{}] the node has shape {}; a class activation map needs a feature map "
      "{{N,h,w,K}}: give the path of a convolution or activation before the "
      "classifier",
      method, to_string(features.shape()));
}

// sum_k w_k A_k of one sample, written into its row.
void weigh(const Tensor& features, const std::vector<int>& channels,
           const std::vector<double>& weights, std::span<float> map) {
  const auto all = static_cast<std::size_t>(features.shape()[3]);
  const auto a = features.values<float>();
  for (std::size_t p = 0; p < map.size(); ++p) {
    double sum = 0;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      sum += weights[i] * a[p * all + static_cast<std::size_t>(channels[i])];
    }
    map[p] = static_cast<float>(sum);
  }
}

// {H,W} of a channel brought to [0, 1]: bilinear between the positions' centres.
std::vector<float> enlarged(const Tensor& features, int channel, std::int64_t height,
                            std::int64_t width) {
  const std::int64_t h = features.shape()[1], w = features.shape()[2], all = features.shape()[3];
  const auto a = features.values<float>();
  const auto value = [&](std::int64_t y, std::int64_t x) {
    y = std::clamp<std::int64_t>(y, 0, h - 1);
    x = std::clamp<std::int64_t>(x, 0, w - 1);
    return static_cast<double>(a[static_cast<std::size_t>((y * w + x) * all + channel)]);
  };
  std::vector<double> up;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const double y = (static_cast<double>(i / width) + 0.5) * static_cast<double>(h) /
                         static_cast<double>(height) -
                     0.5;
    const double x = (static_cast<double>(i % width) + 0.5) * static_cast<double>(w) /
                         static_cast<double>(width) -
                     0.5;
    const auto y0 = static_cast<std::int64_t>(std::floor(y));
    const auto x0 = static_cast<std::int64_t>(std::floor(x));
    const double fy = y - static_cast<double>(y0), fx = x - static_cast<double>(x0);
    up.push_back((1 - fy) * ((1 - fx) * value(y0, x0) + fx * value(y0, x0 + 1)) +
                 fy * ((1 - fx) * value(y0 + 1, x0) + fx * value(y0 + 1, x0 + 1)));
  }
  const auto [low, high] = std::minmax_element(up.begin(), up.end());
  const double range = *high - *low;
  std::vector<float> mask;
  for (double v : up) mask.push_back(range > 0 ? static_cast<float>((v - *low) / range) : 0.0f);
  return mask;
}

}  // namespace

// Samples one after another: their strongest channels differ.
Estimate score_cam(const Scores& scores, const Tensor& x, const Tensor& features, int most,
                   int chunk) {
  require_feature_map(features, "score-cam");
  const std::int64_t samples = x.shape()[0], channels = x.shape()[3];
  const std::int64_t h = features.shape()[1], w = features.shape()[2];
  Estimate result{Tensor(Type{DType::f32, {samples, h, w, 1}}),
                  Tensor::zeros({DType::f32, {samples}}), 0};
  const std::vector<int> first = strongest(features.rows(0, 1), most);
  result.points = static_cast<int>(first.size());
  std::vector<std::vector<double>> weights(static_cast<std::size_t>(samples));
  std::vector<std::vector<int>> chosen;
  for (std::int64_t n = 0; n < samples; ++n)
    chosen.push_back(strongest(features.rows(n, n + 1), most));
  for (int begin = 0; begin < result.points; begin += chunk) {
    const int pictures = std::min(chunk, result.points - begin);
    Shape shape = x.shape();
    shape[0] = samples * pictures;
    Tensor rows(Type{DType::f32, shape});
    for (int k = 0; k < pictures; ++k) {
      for (std::int64_t n = 0; n < samples; ++n) {
        const std::vector<float> mask =
            enlarged(features.rows(n, n + 1),
                     chosen[static_cast<std::size_t>(n)][static_cast<std::size_t>(begin + k)],
                     x.shape()[1], x.shape()[2]);
        const Tensor from = x.rows(n, n + 1);
        Tensor to = rows.rows(k * samples + n, k * samples + n + 1);
        for (std::size_t i = 0; i < from.values<float>().size(); ++i) {
          to.values<float>()[i] =
              from.values<float>()[i] * mask[i / static_cast<std::size_t>(channels)];
        }
      }
    }
    const Tensor values = scores(rows);
    for (int k = 0; k < pictures; ++k) {
      for (std::int64_t n = 0; n < samples; ++n) {
        weights[static_cast<std::size_t>(n)].push_back(values.item(k * samples + n));
      }
    }
  }
  for (std::int64_t n = 0; n < samples; ++n) {
    std::vector<double>& weight = weights[static_cast<std::size_t>(n)];
    const double top = *std::max_element(weight.begin(), weight.end());
    double sum = 0;
    for (double& v : weight) sum += v = std::exp(v - top);
    for (double& v : weight) v /= sum;
    Tensor row = result.map.rows(n, n + 1);
    weigh(features.rows(n, n + 1), chosen[static_cast<std::size_t>(n)], weight,
          row.values<float>());
  }
  return result;
}

Estimate ablation_cam(const Scores& tail, const Tensor& features, int most, int chunk) {
  require_feature_map(features, "ablation-cam");
  const std::int64_t samples = features.shape()[0], all = features.shape()[3];
  Estimate result{Tensor(Type{DType::f32, {samples, features.shape()[1], features.shape()[2], 1}}),
                  Tensor::zeros({DType::f32, {samples}}), 0};
  std::vector<std::vector<int>> chosen;
  for (std::int64_t n = 0; n < samples; ++n)
    chosen.push_back(strongest(features.rows(n, n + 1), most));
  result.points = static_cast<int>(chosen[0].size());
  const Tensor whole = tail(features);
  std::vector<std::vector<double>> weights(static_cast<std::size_t>(samples));
  for (int begin = 0; begin < result.points; begin += chunk) {
    const int maps = std::min(chunk, result.points - begin);
    Shape shape = features.shape();
    shape[0] = samples * maps;
    Tensor rows(Type{DType::f32, shape});
    for (int k = 0; k < maps; ++k) {
      rows.rows(k * samples, (k + 1) * samples).copy_from(features);
      for (std::int64_t n = 0; n < samples; ++n) {
        Tensor row = rows.rows(k * samples + n, k * samples + n + 1);
        const auto values = row.values<float>();
        for (auto i = static_cast<std::size_t>(
                 chosen[static_cast<std::size_t>(n)][static_cast<std::size_t>(begin + k)]);
             i < values.size(); i += static_cast<std::size_t>(all)) {
          values[i] = 0;
        }
      }
    }
    const Tensor values = tail(rows);
    for (int k = 0; k < maps; ++k) {
      for (std::int64_t n = 0; n < samples; ++n) {
        const double y = whole.item(n), drop = y - values.item(k * samples + n);
        weights[static_cast<std::size_t>(n)].push_back(y != 0 ? drop / std::abs(y) : 0);
      }
    }
  }
  for (std::int64_t n = 0; n < samples; ++n) {
    Tensor row = result.map.rows(n, n + 1);
    weigh(features.rows(n, n + 1), chosen[static_cast<std::size_t>(n)],
          weights[static_cast<std::size_t>(n)], row.values<float>());
  }
  return result;
}

}  // namespace tapescope::explain
