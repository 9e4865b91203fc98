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

ResNet18::ResNet18(const ModelConfig& c)
    : Classifier(c),
      conv1_(*this, "conv1", c.channels, scaled(64), 7, {.stride = 2, .padding = 3, .bias = false}),
      bn1_(*this, "bn1", scaled(64)),
      layer1_(*this, "layer1"),
      layer2_(*this, "layer2"),
      layer3_(*this, "layer3"),
      layer4_(*this, "layer4"),
      fc_(*this, "fc", scaled(512), c.classes, {.relu_follows = false}) {
  append_blocks(layer1_, scaled(64), scaled(64), 1, 2);
  append_blocks(layer2_, scaled(64), scaled(128), 2, 2);
  append_blocks(layer3_, scaled(128), scaled(256), 2, 2);
  append_blocks(layer4_, scaled(256), scaled(512), 2, 2);
}

Var ResNet18::logits(Var x) const {
  x = relu(bn1_(conv1_(x)));
  x = max_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
  return fc_(global_avg_pool2d(layer4_(layer3_(layer2_(layer1_(x))))));
}

ResNet20::ResNet20(const ModelConfig& c)
    : Classifier(c),
      conv1_(*this, "conv1", c.channels, scaled(16), 3, {.padding = 1, .bias = false}),
      bn1_(*this, "bn1", scaled(16)),
      layer1_(*this, "layer1"),
      layer2_(*this, "layer2"),
      layer3_(*this, "layer3"),
      fc_(*this, "fc", scaled(64), c.classes, {.relu_follows = false}) {
  append_blocks(layer1_, scaled(16), scaled(16), 1, 3);
  append_blocks(layer2_, scaled(16), scaled(32), 2, 3);
  append_blocks(layer3_, scaled(32), scaled(64), 2, 3);
}

Var ResNet20::logits(Var x) const {
  x = relu(bn1_(conv1_(x)));
  return fc_(global_avg_pool2d(layer3_(layer2_(layer1_(x)))));
}

}  // namespace tapescope
