// Networks that people have pretrained weights of: parameters are named and laid out as
// torchvision's (timm's for efficientnet_lite0), whose files load strictly. The classes lie in the
// .cpp files; list.cpp has the names.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "layers/module.h"

namespace tapescope::backbones {

// He et al. 2016 (arXiv 1512.03385); resnet50 has its stride in the 3x3 convolutions ("v1.5").
std::unique_ptr<Classifier> resnet34(const ModelConfig& config);
std::unique_ptr<Classifier> resnet50(const ModelConfig& config);
// Simonyan and Zisserman 2015 (arXiv 1409.1556), configuration D with batch normalisation.
std::unique_ptr<Classifier> vgg16_bn(const ModelConfig& config);
// Huang et al. 2017 (arXiv 1608.06993).
std::unique_ptr<Classifier> densenet121(const ModelConfig& config);
// Sandler et al. 2018 (arXiv 1801.04381), Howard et al. 2019 (arXiv 1905.02244).
std::unique_ptr<Classifier> mobilenet_v2(const ModelConfig& config);
std::unique_ptr<Classifier> mobilenet_v3_large(const ModelConfig& config);
std::unique_ptr<Classifier> mobilenet_v3_small(const ModelConfig& config);
// Tan and Le 2019 (arXiv 1905.11946).
std::unique_ptr<Classifier> efficientnet_b0(const ModelConfig& config);
// The same without squeeze-and-excitation and with ReLU6, for phones. timm has two of it, with the
// same parameters: `tf_` is TensorFlow's own (epsilon 1e-3, "same" padding, which adds its odd row
// below), the other one PyTorch's (1e-5, symmetric padding).
std::unique_ptr<Classifier> efficientnet_lite0(const ModelConfig& config);
std::unique_ptr<Classifier> tf_efficientnet_lite0(const ModelConfig& config);
// Liu et al. 2022 (arXiv 2201.03545).
std::unique_ptr<Classifier> convnext_tiny(const ModelConfig& config);

struct Backbone {
  std::string_view name;
  std::string_view summary;     // one line
  std::int64_t smallest_image;  // height and width
  std::unique_ptr<Classifier> (*make)(const ModelConfig&);
};
std::span<const Backbone> all();

}  // namespace tapescope::backbones
