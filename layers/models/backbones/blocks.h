// What several backbones are made of.
#pragma once

#include "layers/layers.h"

namespace tapescope::backbones {

// Normal with variance 2 / (out * kernel^2 / groups): He et al. 2015 for the backward pass, which
// is what torchvision and timm begin with. torchvision does not divide by the groups: `groups` 1.
InitialValue he_fan_out(std::int64_t out, std::int64_t kernel, std::int64_t groups = 1);
InitialValue normal(double deviation);

// A channel count times the model's width, rounded to a multiple of 8 but to no less than 0.9 of it
// (Sandler et al. 2018): how the mobile nets' widths are counted.
std::int64_t divisible(double channels);

// {N, H, W, C} to {N, size, size, C}: output i is the mean of the inputs from floor(i H / size) up
// to ceil((i + 1) H / size), as PyTorch's AdaptiveAvgPool2d.
Var adaptive_avg_pool2d(Var x, std::int64_t size);

using Activation = Var (*)(Var);
Var relu6(Var x);

struct ConvNormOptions {
  std::int64_t kernel = 3, stride = 1, groups = 1;
  Activation activation = nullptr;  // none
  BatchNormOptions norm = {};
};

// torchvision's Conv2dNormActivation: a convolution that keeps the size, stride aside ("0"), batch
// norm ("1") and the activation ("2").
class ConvNorm final : public Layer {
 public:
  ConvNorm(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
           const ConvNormOptions& options);
  Var forward(Var x) const override;

 private:
  Conv2d conv_;
  BatchNorm2d norm_;
  std::unique_ptr<Function> activation_;
};

// Hu et al. 2018 (arXiv 1709.01507): the means of all channels, through two 1x1 convolutions, say
// how much of each channel passes.
class SqueezeExcitation final : public Layer {
 public:
  SqueezeExcitation(Module& parent, std::string_view name, std::int64_t channels,
                    std::int64_t squeezed, Activation activation, Activation gate);
  Var forward(Var x) const override;

 private:
  Conv2d fc1_, fc2_;
  Activation activation_, gate_;
};

}  // namespace tapescope::backbones
