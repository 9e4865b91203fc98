// The class-activation-mapping network that the project was asked for.
#pragma once

#include "layers/layers.h"

namespace tapescope {

// Five 3x3 convolutions with ReLU (channels 64, 64, 128, 128, 1000), dropout, mean over 8x8
// windows, a 3x3 convolution (1000), dropout, mean over 2x2 windows, a 1x1 convolution to the
// classes, dropout, global mean. Padding keeps the size of every convolution. After the fifth ReLU
// everything is linear and each class score is the mean of a map of that class, so the map says
// where the class was seen. Windows are clipped to small feature maps.
class SeedNet final : public Classifier {
 public:
  explicit SeedNet(const ModelConfig& config);
  Var logits(Var image) const override;

 private:
  Conv2d conv1_, conv2_, conv3_, conv4_, conv5_, conv6_, conv7_;
  Dropout dropout1_, dropout2_, dropout3_;
};

}  // namespace tapescope
