#include "layers/models/backbones/blocks.h"

#include <algorithm>
#include <cmath>

namespace tapescope::backbones {

InitialValue normal(double deviation) {
  return [deviation](PhiloxStream& random) { return random.normal() * deviation; };
}

InitialValue he_fan_out(std::int64_t out, std::int64_t kernel, std::int64_t groups) {
  return normal(std::sqrt(2.0 / static_cast<double>(kernel * kernel * out / groups)));
}

std::int64_t divisible(double channels) {
  constexpr std::int64_t kDivisor = 8;
  const auto halfway = static_cast<std::int64_t>(channels + kDivisor / 2);
  const std::int64_t rounded = std::max(kDivisor, halfway / kDivisor * kDivisor);
  return static_cast<double>(rounded) < 0.9 * channels ? rounded + kDivisor : rounded;
}

namespace {

// Along one axis of x.
Var adaptive_mean(Var x, int axis, std::int64_t size) {
  const std::int64_t extent = x.shape()[axis];
  std::vector<Var> means;
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t begin = i * extent / size, end = ((i + 1) * extent + size - 1) / size;
    const int axes[] = {axis};
    means.push_back(reduce_mean(slice(x, axis, begin, end), axes));
  }
  return concat(means, axis);
}

}  // namespace

Var adaptive_avg_pool2d(Var x, std::int64_t size) {
  const std::int64_t h = x.shape()[1], w = x.shape()[2];
  if (h == size && w == size) return x;
  if (h % size == 0 && w % size == 0) {
    return avg_pool2d(
        x,
        {.kernel_h = h / size, .kernel_w = w / size, .stride_h = h / size, .stride_w = w / size});
  }
  return adaptive_mean(adaptive_mean(x, 1, size), 2, size);
}

Var relu6(Var x) { return clamp(x, 0, 6); }

ConvNorm::ConvNorm(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
                   const ConvNormOptions& options)
    : Layer(parent, name),
      conv_(*this, "0", in, out, options.kernel,
            {.stride = options.stride,
             .padding = (options.kernel - 1) / 2,
             .groups = options.groups,
             .bias = false,
             .initial = he_fan_out(out, options.kernel)}),
      norm_(*this, "1", out, options.norm),
      activation_(options.activation != nullptr
                      ? std::make_unique<Function>(*this, "2", options.activation)
                      : nullptr) {}

Var ConvNorm::forward(Var x) const {
  x = norm_(conv_(x));
  return activation_ != nullptr ? (*activation_)(x) : x;
}

SqueezeExcitation::SqueezeExcitation(Module& parent, std::string_view name, std::int64_t channels,
                                     std::int64_t squeezed, Activation activation, Activation gate)
    : Layer(parent, name),
      fc1_(*this, "fc1", channels, squeezed, 1, {.initial = he_fan_out(squeezed, 1)}),
      fc2_(*this, "fc2", squeezed, channels, 1, {.initial = he_fan_out(channels, 1)}),
      activation_(activation),
      gate_(gate) {}

Var SqueezeExcitation::forward(Var x) const {
  constexpr int kPositions[] = {1, 2};
  const Var squeezed = activation_(fc1_(reduce_mean(x, kPositions)));
  return gate(x, gate_(fc2_(squeezed)));
}

}  // namespace tapescope::backbones
