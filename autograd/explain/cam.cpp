#include "autograd/explain/cam.h"

#include <algorithm>
#include <cmath>

#include "autograd/explain/composite.h"
#include "autograd/ops/ops.h"
#include "autograd/reach.h"
#include "autograd/tape.h"

namespace tapescope::explain {
namespace {

void require_feature_map(Var feature_map, std::string_view method) {
  if (feature_map.shape().rank() != 4) {
    throw usage_error(
        "[{}] '{}' has shape {}; a class activation map needs a feature map "
        "{{N,h,w,K}}: give the path of a convolution or activation before the "
        "classifier",
        method, feature_map.path(), to_string(feature_map.shape()));
  }
}

constexpr int kChannels[] = {3};
constexpr int kPositions[] = {1, 2};

// dy/dA of a feature map {N,h,w,K}, for the method of that name.
Var gradient_at(Tape& tape, Var target, Var feature_map, std::string_view method) {
  require_evaluation(tape, method);
  require_feature_map(feature_map, method);
  return tape.gradient(target, {feature_map})[0];
}

}  // namespace

Var last_feature_map(Tape& tape, Var target, Var x) {
  const Var from[] = {x}, to[] = {target};
  const std::vector<bool> on_way = between(tape, from, to, Through::derivatives);
  for (std::size_t i = on_way.size(); i-- > 0;) {
    const Op& op = *tape.nodes()[i]->op;
    // A transposed image no longer has its channels last.
    if (!on_way[i] || op.is_leaf() || !op.channels_last()) continue;
    const Var out = tape.nodes()[i]->out();
    if (out.shape().rank() == 4 && out.shape()[1] * out.shape()[2] > 1) return out;
  }
  throw usage_error(
      "the model has no feature map: no node between '{}' and '{}' has shape {{N,h,w,K}} with more "
      "than one position; use a gradient method instead",
      x.path(), target.path());
}

Var grad_cam(Tape& tape, Var target, Var feature_map) {
  const Var gradient = gradient_at(tape, target, feature_map, "grad-cam");
  const Tape::Scope in(tape, "grad-cam");
  const Var weights = reduce_mean(gradient, kPositions);  // {N,1,1,K}
  return reduce_sum(mul(feature_map, weights), kChannels);
}

Var grad_cam(Tape& tape, Var target, std::string_view path) {
  return grad_cam(tape, target, tape.find(path));
}

Var grad_cam_plus_plus(Tape& tape, Var target, Var feature_map) {
  const Var gradient = gradient_at(tape, target, feature_map, "grad-cam++");
  const Tape::Scope in(tape, "grad-cam++");
  const Var mass = reduce_sum(feature_map, kPositions);  // {N,1,1,K}
  const Var denominator = affine(mul(gradient, mass), 1, 2);
  const Var weights = reduce_sum(safe_divide(relu(gradient), denominator), kPositions);
  return reduce_sum(mul(feature_map, weights), kChannels);
}

Var xgrad_cam(Tape& tape, Var target, Var feature_map) {
  const Var gradient = gradient_at(tape, target, feature_map, "xgrad-cam");
  const Tape::Scope in(tape, "xgrad-cam");
  const Var product = reduce_sum(mul(feature_map, gradient), kPositions);
  const Var weights = safe_divide(product, reduce_sum(feature_map, kPositions));
  return reduce_sum(mul(feature_map, weights), kChannels);
}

Var hires_cam(Tape& tape, Var target, Var feature_map) {
  const Var gradient = gradient_at(tape, target, feature_map, "hires-cam");
  const Tape::Scope in(tape, "hires-cam");
  return reduce_sum(mul(feature_map, gradient), kChannels);
}

Var layer_cam(Tape& tape, Var target, Var feature_map) {
  const Var gradient = gradient_at(tape, target, feature_map, "layer-cam");
  const Tape::Scope in(tape, "layer-cam");
  return reduce_sum(mul(feature_map, relu(gradient)), kChannels);
}

Var guided_grad_cam(Tape& tape, Var target, Var feature_map, Var x) {
  const Var guided = tape.relevance(target, {x}, guided_backprop())[0];
  const Var map = relu(grad_cam(tape, target, feature_map));
  const Tape::Scope in(tape, "guided-grad-cam");
  return mul(guided, upsample_bilinear(map, x.shape()[1], x.shape()[2]));
}

Tensor eigen_cam(const Tensor& feature_map) {
  const Shape& shape = feature_map.shape();
  const std::int64_t rows = shape[0];
  const auto positions = static_cast<std::size_t>(shape[1] * shape[2]);
  const auto channels = static_cast<std::size_t>(shape[3]);
  Tensor map(Type{DType::f32, {rows, shape[1], shape[2], 1}});
  for (std::int64_t n = 0; n < rows; ++n) {
    const Tensor image = feature_map.rows(n, n + 1);
    const auto a = image.values<float>();  // {positions, channels}
    std::vector<double> direction(channels, 1), projection(positions), next(channels);
    // Power iteration on A'A. Starting from ones is never orthogonal to the answer where A >= 0;
    // elsewhere a slight slope keeps it from being so by symmetry.
    for (std::size_t k = 0; k < channels; ++k) direction[k] += 1e-3 * static_cast<double>(k);
    for (int iteration = 0; iteration < 1000; ++iteration) {
      std::fill(next.begin(), next.end(), 0.0);
      double size = 0, change = 0;
      for (std::size_t p = 0; p < positions; ++p) {
        projection[p] = 0;
        for (std::size_t k = 0; k < channels; ++k) {
          projection[p] += a[p * channels + k] * direction[k];
        }
        for (std::size_t k = 0; k < channels; ++k) next[k] += a[p * channels + k] * projection[p];
      }
      for (double v : next) size += v * v;
      size = std::sqrt(size);
      if (size == 0) break;  // nothing active: the projection is zero
      for (std::size_t k = 0; k < channels; ++k) {
        change = std::max(change, std::abs(next[k] / size - direction[k]));
        direction[k] = next[k] / size;
      }
      if (change < 1e-12) break;
    }
    double along = 0;  // with sum_k A_k
    for (std::size_t p = 0; p < positions; ++p) {
      double sum = 0;
      projection[p] = 0;
      for (std::size_t k = 0; k < channels; ++k) {
        projection[p] += a[p * channels + k] * direction[k];
        sum += a[p * channels + k];
      }
      along += projection[p] * sum;
    }
    for (std::size_t p = 0; p < positions; ++p) {
      map.values<float>()[static_cast<std::size_t>(n) * positions + p] =
          static_cast<float>(along < 0 ? -projection[p] : projection[p]);
    }
  }
  return map;
}

Var cam(Tape& tape, Var target, Var feature_map) {
  require_evaluation(tape, "cam");
  require_feature_map(feature_map, "cam");
  const Var from[] = {feature_map}, to[] = {target};
  const std::vector<bool> on_way = between(tape, from, to, Through::derivatives);
  for (std::size_t i = 0; i < on_way.size(); ++i) {
    const Node& node = *tape.nodes()[i];
    if (!on_way[i] || &node == feature_map.node) continue;
    unsigned active = 0;
    for (int k = 0; k < node.operand_count; ++k) {
      if (on_way[node.operand_data[k].node->index]) active |= 1u << k;
    }
    const RelevanceClass kind = node.op->relevance_class(active);
    if (kind != RelevanceClass::linear && kind != RelevanceClass::moves &&
        kind != RelevanceClass::selects) {
      throw usage_error(
          "[cam] '{}' lies between '{}' and the class score and is not linear; CAM is defined for "
          "a linear tail only (global mean, 1x1 convolution): use grad-cam",
          node.path(), feature_map.path());
    }
  }
  const Var gradient = tape.gradient(target, {feature_map})[0];
  const Tape::Scope in(tape, "cam");
  const double positions = static_cast<double>(feature_map.shape()[1] * feature_map.shape()[2]);
  return affine(reduce_sum(mul(feature_map, gradient), kChannels), positions);
}

}  // namespace tapescope::explain
