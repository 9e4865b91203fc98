#include "layers/models/seednet.h"

#include <algorithm>

namespace tapescope {
namespace {

Var window_mean(Var x, std::int64_t window) {
  const std::int64_t h = std::min(window, x.shape()[1]), w = std::min(window, x.shape()[2]);
  return avg_pool2d(x, {.kernel_h = h, .kernel_w = w, .stride_h = h, .stride_w = w});
}

}  // namespace

SeedNet::SeedNet(const ModelConfig& c)
    : Classifier(c),
      conv1_(*this, "conv1", c.channels, scaled(64), 3, {.padding = 1}),
      conv2_(*this, "conv2", scaled(64), scaled(64), 3, {.padding = 1}),
      conv3_(*this, "conv3", scaled(64), scaled(128), 3, {.padding = 1}),
      conv4_(*this, "conv4", scaled(128), scaled(128), 3, {.padding = 1}),
      conv5_(*this, "conv5", scaled(128), scaled(1000), 3, {.padding = 1}),
      conv6_(*this, "conv6", scaled(1000), scaled(1000), 3, {.padding = 1}),
      conv7_(*this, "conv7", scaled(1000), c.classes, 1),
      dropout1_(*this, "dropout1", 0.5),
      dropout2_(*this, "dropout2", 0.5),
      dropout3_(*this, "dropout3", 0.5) {}

Var SeedNet::logits(Var x) const {
  for (const Conv2d* conv : {&conv1_, &conv2_, &conv3_, &conv4_, &conv5_}) x = with_relu(*conv, x);
  x = window_mean(dropout1_(x), 8);
  x = window_mean(dropout2_(conv6_(x)), 2);
  return global_avg_pool2d(dropout3_(conv7_(x)));
}

}  // namespace tapescope
