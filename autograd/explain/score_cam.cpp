#include "autograd/explain/score_cam.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
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

// {H,W} of a channel of {1,h,w,K}, enlarged and brought to [0, 1].
std::vector<float> mask_of(const Tensor& features, int channel, std::int64_t height,
                           std::int64_t width) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var one = slice(tape.constant(features), 3, channel, channel + 1);
  const Tensor up = upsample_bilinear(one, height, width).value();
  const auto [low, high] =
      std::minmax_element(up.values<float>().begin(), up.values<float>().end());
  const float range = *high - *low;
  std::vector<float> mask;
  for (float v : up.values<float>()) mask.push_back(range > 0 ? (v - *low) / range : 0.0f);
  return mask;
}

// What both methods share: `change` makes of a copy of the sample's row of `input` what a channel
// is scored by, `weights` turns a sample's scores into the channels' weights. Samples have channels
// of their own, because the strongest differ.
Estimate weighted_maps(
    const Scores& scores, const Tensor& input, const Tensor& features, int most, int chunk,
    const std::function<void(const Tensor& sample, int channel, std::span<float> row)>& change,
    const std::function<void(std::int64_t n, std::vector<double>&)>& weights) {
  const std::int64_t samples = features.shape()[0];
  Estimate result{Tensor(Type{DType::f32, {samples, features.shape()[1], features.shape()[2], 1}}),
                  Tensor::zeros({DType::f32, {samples}}), 0};
  std::vector<std::vector<int>> chosen;
  for (std::int64_t n = 0; n < samples; ++n) {
    chosen.push_back(strongest(features.rows(n, n + 1), most));
  }
  result.points = static_cast<int>(chosen[0].size());
  std::vector<std::vector<double>> scored(chosen.size());
  for (int begin = 0; begin < result.points; begin += chunk) {
    const int channels = std::min(chunk, result.points - begin);
    Shape shape = input.shape();
    shape[0] = samples * channels;
    Tensor rows(Type{DType::f32, shape});
    for (int k = 0; k < channels; ++k) {
      rows.rows(k * samples, (k + 1) * samples).copy_from(input);
      for (std::int64_t n = 0; n < samples; ++n) {
        Tensor row = rows.rows(k * samples + n, k * samples + n + 1);
        change(features.rows(n, n + 1),
               chosen[static_cast<std::size_t>(n)][static_cast<std::size_t>(begin + k)],
               row.values<float>());
      }
    }
    const Tensor values = scores(rows);
    for (int k = 0; k < channels; ++k) {
      for (std::int64_t n = 0; n < samples; ++n) {
        scored[static_cast<std::size_t>(n)].push_back(values.item(k * samples + n));
      }
    }
  }
  for (std::int64_t n = 0; n < samples; ++n) {
    const auto i = static_cast<std::size_t>(n);
    weights(n, scored[i]);
    Tensor row = result.map.rows(n, n + 1);
    weigh(features.rows(n, n + 1), chosen[i], scored[i], row.values<float>());
  }
  return result;
}

}  // namespace

Estimate score_cam(const Scores& scores, const Tensor& x, const Tensor& features, int most,
                   int chunk) {
  require_feature_map(features, "score-cam");
  const auto channels = static_cast<std::size_t>(x.shape()[3]);
  const auto masked = [&](const Tensor& sample, int channel, std::span<float> row) {
    const std::vector<float> mask = mask_of(sample, channel, x.shape()[1], x.shape()[2]);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] *= mask[i / channels];
  };
  const auto softmax = [](std::int64_t, std::vector<double>& weight) {
    const double top = *std::max_element(weight.begin(), weight.end());
    double sum = 0;
    for (double& v : weight) sum += v = std::exp(v - top);
    for (double& v : weight) v /= sum;
  };
  return weighted_maps(scores, x, features, most, chunk, masked, softmax);
}

Estimate ablation_cam(const Scores& tail, const Tensor& features, int most, int chunk) {
  require_feature_map(features, "ablation-cam");
  const auto channels = static_cast<std::size_t>(features.shape()[3]);
  const Tensor whole = tail(features);
  const auto without = [&](const Tensor&, int channel, std::span<float> row) {
    for (auto i = static_cast<std::size_t>(channel); i < row.size(); i += channels) row[i] = 0;
  };
  const auto drops = [&](std::int64_t n, std::vector<double>& weight) {
    const double y = whole.item(n);
    for (double& v : weight) v = y != 0 ? (y - v) / std::abs(y) : 0;
  };
  return weighted_maps(tail, features, features, most, chunk, without, drops);
}

}  // namespace tapescope::explain
