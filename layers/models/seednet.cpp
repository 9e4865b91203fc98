// The class-activation-mapping network that the project was asked for.
#include <algorithm>

#include "layers/layers.h"

namespace tapescope {
namespace {

Var window_mean(Var x, std::int64_t window) {
  const std::int64_t h = std::min(window, x.shape()[1]), w = std::min(window, x.shape()[2]);
  return avg_pool2d(x, {.kernel_h = h, .kernel_w = w, .stride_h = h, .stride_w = w});
}

// Five 3x3 convolutions with ReLU (channels 64, 64, 128, 128, 1000), dropout, mean over 8x8
// windows, a 3x3 convolution (1000), dropout, mean over 2x2 windows, a 1x1 convolution to the
// classes, dropout, global mean. Padding keeps the size of every convolution. After the fifth ReLU
// everything is linear and each class score is the mean of a map of that class, so the map says
// where the class was seen. Windows are clipped to small feature maps.
class SeedNet final : public Classifier {
 public:
  using Classifier::Classifier;
  Var logits(Var x) const override {
    for (const Conv2d* conv : {&conv1_, &conv2_, &conv3_, &conv4_, &conv5_}) {
      x = with_relu(*conv, x);
    }
    x = window_mean(dropout1_(x), 8);
    x = window_mean(dropout2_(conv6_(x)), 2);
    return global_avg_pool2d(dropout3_(conv7_(x)));
  }

 private:
  Conv2d conv1_{*this, "conv1", config().channels, scaled(64), 3, {.padding = 1}};
  Conv2d conv2_{*this, "conv2", scaled(64), scaled(64), 3, {.padding = 1}};
  Conv2d conv3_{*this, "conv3", scaled(64), scaled(128), 3, {.padding = 1}};
  Conv2d conv4_{*this, "conv4", scaled(128), scaled(128), 3, {.padding = 1}};
  Conv2d conv5_{*this, "conv5", scaled(128), scaled(1000), 3, {.padding = 1}};
  Conv2d conv6_{*this, "conv6", scaled(1000), scaled(1000), 3, {.padding = 1}};
  Conv2d conv7_{*this, "conv7", scaled(1000), config().classes, 1};
  Dropout dropout1_{*this, "dropout1", 0.5}, dropout2_{*this, "dropout2", 0.5},
      dropout3_{*this, "dropout3", 0.5};
};

}  // namespace

std::unique_ptr<Classifier> make_seednet(const ModelConfig& c) {
  return std::make_unique<SeedNet>(c);
}

}  // namespace tapescope
