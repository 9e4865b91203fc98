// Narrow - wide - narrow: the block of MobileNet v2, v3 and EfficientNet.
#pragma once

#include "layers/models/backbones/blocks.h"

namespace tapescope::backbones {

struct InvertedResidualOptions {
  std::int64_t in = 0, wide = 0, out = 0;
  std::int64_t kernel = 3, stride = 1;
  Activation activation = relu;
  BatchNormOptions norm = {};
  // Of squeeze-and-excitation; 0: none.
  std::int64_t squeezed = 0;
  Activation squeeze_activation = relu, squeeze_gate = sigmoid;
  double drop = 0;  // stochastic depth: how often a sample skips the block in training
  // As torchvision calls it: v2's block is "conv" and its last convolution and batch norm stand in
  // it side by side, the others' is "block" and they stand in a module of their own.
  bool named_as_v2 = false;
};

// conv1x1 - bn - activation (where it widens), depthwise conv - bn - activation, squeeze-and-
// excitation, conv1x1 - bn; plus the input where size and channels are the same.
class InvertedResidual final : public Layer {
 public:
  InvertedResidual(Module& parent, std::string_view name, const InvertedResidualOptions& options);
  Var forward(Var x) const override;

 private:
  bool shortcut_;
  double drop_;
  Sequential block_;
};

}  // namespace tapescope::backbones
