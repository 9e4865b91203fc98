// Residual networks (He et al. 2016, arXiv 1512.03385).
#include "layers/layers.h"

namespace tapescope {
namespace {

void append_blocks(Sequential& stage, std::int64_t in, std::int64_t out, std::int64_t stride,
                   int blocks) {
  for (int i = 0; i < blocks; ++i) {
    stage.append<BasicBlock>(i == 0 ? in : out, out, i == 0 ? stride : 1);
  }
}

// torchvision's resnet18: conv7x7/2 - bn - relu - maxpool3x3/2 - four stages of two blocks (64,
// 128, 256, 512) - global mean - fc.
class ResNet18 final : public Classifier {
 public:
  explicit ResNet18(const ModelConfig& c) : Classifier(c) {
    append_blocks(layer1_, scaled(64), scaled(64), 1, 2);
    append_blocks(layer2_, scaled(64), scaled(128), 2, 2);
    append_blocks(layer3_, scaled(128), scaled(256), 2, 2);
    append_blocks(layer4_, scaled(256), scaled(512), 2, 2);
  }
  Var logits(Var x) const override {
    x = relu(bn1_(conv1_(x)));
    x = max_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
    return fc_(global_avg_pool2d(layer4_(layer3_(layer2_(layer1_(x))))));
  }

 private:
  Conv2d conv1_{*this,      "conv1", config().channels,
                scaled(64), 7,       {.stride = 2, .padding = 3, .bias = false}};
  BatchNorm2d bn1_{*this, "bn1", scaled(64)};
  Sequential layer1_{*this, "layer1"}, layer2_{*this, "layer2"}, layer3_{*this, "layer3"},
      layer4_{*this, "layer4"};
  Linear fc_{*this, "fc", scaled(512), config().classes, {.relu_follows = false}};
};

// The CIFAR form: conv3x3 - bn - relu - three stages of three blocks (16, 32, 64) - global mean -
// fc. Shortcuts that change size are 1x1 convolutions (the paper's option B).
class ResNet20 final : public Classifier {
 public:
  explicit ResNet20(const ModelConfig& c) : Classifier(c) {
    append_blocks(layer1_, scaled(16), scaled(16), 1, 3);
    append_blocks(layer2_, scaled(16), scaled(32), 2, 3);
    append_blocks(layer3_, scaled(32), scaled(64), 2, 3);
  }
  Var logits(Var x) const override {
    x = relu(bn1_(conv1_(x)));
    return fc_(global_avg_pool2d(layer3_(layer2_(layer1_(x)))));
  }

 private:
  Conv2d conv1_{*this, "conv1", config().channels, scaled(16), 3, {.padding = 1, .bias = false}};
  BatchNorm2d bn1_{*this, "bn1", scaled(16)};
  Sequential layer1_{*this, "layer1"}, layer2_{*this, "layer2"}, layer3_{*this, "layer3"};
  Linear fc_{*this, "fc", scaled(64), config().classes, {.relu_follows = false}};
};

}  // namespace

std::unique_ptr<Classifier> make_resnet18(const ModelConfig& c) {
  return std::make_unique<ResNet18>(c);
}
std::unique_ptr<Classifier> make_resnet20(const ModelConfig& c) {
  return std::make_unique<ResNet20>(c);
}

}  // namespace tapescope
