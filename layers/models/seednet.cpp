#include "layers/models/seednet.h"

#include <algorithm>

namespace tapescope {
namespace {

Var window_mean(Var x, std::int64_t window) {
  const std::int64_t h = std::min(window, x.shape()[1]), w = std::min(window, x.shape()[2]);
  return avg_pool2d(x, {.kernel_h = h, .kernel_w = w, .stride_h = h, .stride_w = w});
}

}  // namespace

SeedNet::SeedNet(const ModelConfig& config) : Classifier(config) {
  const std::int64_t narrow = scaled(64), middle = scaled(128), wide = scaled(1000);
  const std::int64_t channels[] = {config.channels, narrow, narrow, middle, middle, wide, wide};
  const auto add_conv = [&](int i, std::int64_t out, std::int64_t kernel) {
    convs_.push_back(add_child<Conv2d>("conv" + std::to_string(i + 1), channels[i], out, kernel,
                                       ConvOptions{.padding = kernel / 2}));
  };
  for (int i = 0; i < 6; ++i) add_conv(i, channels[i + 1], 3);
  add_conv(6, config.classes, 1);
  dropout1_ = add_child<Dropout>("dropout1", 0.5);
  dropout2_ = add_child<Dropout>("dropout2", 0.5);
  dropout3_ = add_child<Dropout>("dropout3", 0.5);
}

Var SeedNet::logits(Var x) {
  for (std::size_t i = 0; i < 5; ++i) x = with_relu(*convs_[i], x);
  x = window_mean((*dropout1_)(x), 8);
  x = window_mean((*dropout2_)((*convs_[5])(x)), 2);
  return global_avg_pool2d((*dropout3_)((*convs_[6])(x)));
}

}  // namespace tapescope
