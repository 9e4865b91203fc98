// A LeNet (LeCun et al. 1998) with today's parts, and a plain multilayer perceptron.
#pragma once

#include "layers/layers.h"

namespace tapescope {

// conv5x5 - relu - pool - conv5x5 - relu - pool - fc - relu - dropout - fc.
class LeNet final : public Classifier {
 public:
  explicit LeNet(const ModelConfig& config);
  Var logits(Var image) const override;

 private:
  Conv2d conv1_, conv2_;
  Linear fc1_;
  Dropout dropout_;
  Linear fc2_;
};

// flatten - fc - relu - fc - relu - fc.
class Mlp final : public Classifier {
 public:
  explicit Mlp(const ModelConfig& config);
  Var logits(Var image) const override;

 private:
  Linear fc1_, fc2_, fc3_;
};

}  // namespace tapescope
