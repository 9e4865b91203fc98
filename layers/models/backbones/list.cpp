#include "layers/models/backbones/backbones.h"

namespace tapescope::backbones {

std::span<const Backbone> all() {
  static constexpr Backbone kAll[] = {
      {"resnet34", "torchvision's 34-layer residual network", 16, resnet34},
      {"resnet50", "torchvision's 50-layer residual network, of bottlenecks", 16, resnet50},
      {"vgg16_bn", "torchvision's VGG of 16 weighted layers, with batch norm", 32, vgg16_bn},
      {"densenet121", "torchvision's densely connected network", 32, densenet121},
      {"mobilenet_v2", "torchvision's inverted residuals, for phones", 16, mobilenet_v2},
      {"mobilenet_v3_large", "the same with squeeze-and-excitation and hard swish", 16,
       mobilenet_v3_large},
      {"mobilenet_v3_small", "its smaller form", 16, mobilenet_v3_small},
      {"efficientnet_b0", "torchvision's EfficientNet-B0", 16, efficientnet_b0},
      {"efficientnet_lite0", "timm's B0 without squeeze-and-excitation, with ReLU6", 16,
       efficientnet_lite0},
      {"tf_efficientnet_lite0", "the same as TensorFlow pads and normalises", 16,
       tf_efficientnet_lite0},
      {"convnext_tiny", "torchvision's ConvNeXt: 7x7 depthwise, layer norm, GELU", 32,
       convnext_tiny},
  };
  return kAll;
}

}  // namespace tapescope::backbones
