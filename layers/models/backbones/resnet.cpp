#include "layers/layers.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/blocks.h"

namespace tapescope::backbones {
namespace {

// conv1x1 - bn - relu - conv3x3 - bn - relu - conv1x1 (four times the channels) - bn, plus the
// input, - relu.
class Bottleneck final : public Layer {
 public:
  static constexpr std::int64_t kExpansion = 4;
  Bottleneck(Module& parent, std::string_view name, std::int64_t in, std::int64_t width,
             std::int64_t stride)
      : Layer(parent, name),
        conv1_(*this, "conv1", in, width, 1, {.bias = false, .initial = he_fan_out(width, 1)}),
        bn1_(*this, "bn1", width),
        conv2_(*this, "conv2", width, width, 3,
               {.stride = stride, .padding = 1, .bias = false, .initial = he_fan_out(width, 3)}),
        bn2_(*this, "bn2", width),
        conv3_(*this, "conv3", width, width * kExpansion, 1,
               {.bias = false, .initial = he_fan_out(width * kExpansion, 1)}),
        bn3_(*this, "bn3", width * kExpansion),
        downsample_(*this, "downsample") {
    if (stride == 1 && in == width * kExpansion) return;
    const ConvOptions shortcut{
        .stride = stride, .bias = false, .initial = he_fan_out(width * kExpansion, 1)};
    downsample_.append<Conv2d>(in, width * kExpansion, 1, shortcut)
        .append<BatchNorm2d>(width * kExpansion);
  }
  Var forward(Var x) const override {
    const Var shortcut = downsample_.empty() ? x : downsample_(x);
    const Var narrow = relu(bn1_(conv1_(x)));
    return relu(add(bn3_(conv3_(relu(bn2_(conv2_(narrow))))), shortcut));
  }

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
  Conv2d conv3_;
  BatchNorm2d bn3_;
  Sequential downsample_;
};

// Blocks of the paper's deeper nets: 3, 4, 6 and 3.
template <class Block, std::int64_t Expansion>
class ResNet final : public Classifier {
 public:
  explicit ResNet(const ModelConfig& c)
      : Classifier(c),
        conv1_(*this, "conv1", c.channels, scaled(64), 7,
               {.stride = 2, .padding = 3, .bias = false, .initial = he_fan_out(scaled(64), 7)}),
        bn1_(*this, "bn1", scaled(64)),
        layer1_(*this, "layer1"),
        layer2_(*this, "layer2"),
        layer3_(*this, "layer3"),
        layer4_(*this, "layer4"),
        fc_(*this, "fc", scaled(512) * Expansion, c.classes, {.relu_follows = false}) {
    std::int64_t in = scaled(64);
    append(layer1_, in, scaled(64), 1, 3);
    append(layer2_, in, scaled(128), 2, 4);
    append(layer3_, in, scaled(256), 2, 6);
    append(layer4_, in, scaled(512), 2, 3);
  }
  Var logits(Var x) const override {
    x = relu(bn1_(conv1_(x)));
    x = max_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
    return fc_(global_avg_pool2d(layer4_(layer3_(layer2_(layer1_(x))))));
  }

 private:
  static void append(Sequential& stage, std::int64_t& in, std::int64_t width, std::int64_t stride,
                     int blocks) {
    for (int i = 0; i < blocks; ++i) {
      stage.append<Block>(in, width, i == 0 ? stride : 1);
      in = width * Expansion;
    }
  }
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Sequential layer1_, layer2_, layer3_, layer4_;
  Linear fc_;
};

}  // namespace

std::unique_ptr<Classifier> resnet34(const ModelConfig& config) {
  return std::make_unique<ResNet<BasicBlock, 1>>(config);
}
std::unique_ptr<Classifier> resnet50(const ModelConfig& config) {
  return std::make_unique<ResNet<Bottleneck, Bottleneck::kExpansion>>(config);
}

}  // namespace tapescope::backbones
