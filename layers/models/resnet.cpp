#include "layers/models/resnet.h"

namespace tapescope {
namespace {

void append_blocks(Sequential& stage, std::int64_t in, std::int64_t out, std::int64_t stride,
                   int blocks) {
  for (int i = 0; i < blocks; ++i) {
    stage.append<BasicBlock>(i == 0 ? in : out, out, i == 0 ? stride : 1);
  }
}

}  // namespace

ResNet18::ResNet18(const ModelConfig& config) : Classifier(config) {
  std::int64_t channels = scaled(64);
  conv1_ = add_child<Conv2d>("conv1", config.channels, channels, 7,
                             ConvOptions{.stride = 2, .padding = 3, .bias = false});
  bn1_ = add_child<BatchNorm2d>("bn1", channels);
  for (int i = 0; i < 4; ++i) {
    const std::int64_t out = scaled(std::int64_t{64} << i);
    stages_.push_back(add_child<Sequential>("layer" + std::to_string(i + 1)));
    append_blocks(*stages_.back(), channels, out, i == 0 ? 1 : 2, 2);
    channels = out;
  }
  fc_ = add_child<Linear>("fc", channels, config.classes, LinearOptions{.relu_follows = false});
}

Var ResNet18::logits(Var x) {
  x = relu((*bn1_)((*conv1_)(x)));
  x = max_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
  for (const auto& stage : stages_) x = (*stage)(x);
  return (*fc_)(global_avg_pool2d(x));
}

ResNet20::ResNet20(const ModelConfig& config) : Classifier(config) {
  std::int64_t channels = scaled(16);
  conv1_ = add_child<Conv2d>("conv1", config.channels, channels, 3,
                             ConvOptions{.padding = 1, .bias = false});
  bn1_ = add_child<BatchNorm2d>("bn1", channels);
  for (int i = 0; i < 3; ++i) {
    const std::int64_t out = scaled(std::int64_t{16} << i);
    stages_.push_back(add_child<Sequential>("layer" + std::to_string(i + 1)));
    append_blocks(*stages_.back(), channels, out, i == 0 ? 1 : 2, 3);
    channels = out;
  }
  fc_ = add_child<Linear>("fc", channels, config.classes, LinearOptions{.relu_follows = false});
}

Var ResNet20::logits(Var x) {
  x = relu((*bn1_)((*conv1_)(x)));
  for (const auto& stage : stages_) x = (*stage)(x);
  return (*fc_)(global_avg_pool2d(x));
}

}  // namespace tapescope
