// Residual networks (He et al. 2016, arXiv 1512.03385).
#pragma once

#include "layers/layers.h"

namespace tapescope {

// torchvision's resnet18: conv7x7/2 - bn - relu - maxpool3x3/2 - four stages of two blocks (64,
// 128, 256, 512) - global mean - fc.
class ResNet18 final : public Classifier {
 public:
  explicit ResNet18(const ModelConfig& config);
  Var logits(Var image) const override;

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Sequential layer1_, layer2_, layer3_, layer4_;
  Linear fc_;
};

// The CIFAR form: conv3x3 - bn - relu - three stages of three blocks (16, 32, 64) - global mean -
// fc. Shortcuts that change size are 1x1 convolutions (the paper's option B).
class ResNet20 final : public Classifier {
 public:
  explicit ResNet20(const ModelConfig& config);
  Var logits(Var image) const override;

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Sequential layer1_, layer2_, layer3_;
  Linear fc_;
};

}  // namespace tapescope
