#include "layers/initialise.h"
#include "layers/layers.h"
#include "layers/models/backbones/backbones.h"

namespace tapescope::backbones {
namespace {

// bn - relu - conv1x1 to four times the growth - bn - relu - conv3x3 to the growth, beside the
// input.
class DenseLayer final : public Layer {
 public:
  DenseLayer(Module& parent, std::string_view name, std::int64_t in, std::int64_t growth)
      : Layer(parent, name),
        norm1_(*this, "norm1", in),
        conv1_(*this, "conv1", in, 4 * growth, 1, {.bias = false}),
        norm2_(*this, "norm2", 4 * growth),
        conv2_(*this, "conv2", 4 * growth, growth, 3, {.padding = 1, .bias = false}) {}
  Var forward(Var x) const override {
    const Var parts[] = {x, conv2_(relu(norm2_(conv1_(relu(norm1_(x))))))};
    return concat(parts, 3);
  }

 private:
  BatchNorm2d norm1_;
  Conv2d conv1_;
  BatchNorm2d norm2_;
  Conv2d conv2_;
};

class DenseBlock final : public Layer {
 public:
  DenseBlock(Module& parent, std::string_view name, int layers, std::int64_t in,
             std::int64_t growth)
      : Layer(parent, name) {
    for (int i = 0; i < layers; ++i) {
      layers_.push_back(std::make_unique<DenseLayer>(*this, "denselayer" + std::to_string(i + 1),
                                                     in + i * growth, growth));
    }
  }
  Var forward(Var x) const override {
    for (const auto& layer : layers_) x = (*layer)(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<DenseLayer>> layers_;
};

// Half of the channels and, by a pool, of the size.
class Transition final : public Layer {
 public:
  Transition(Module& parent, std::string_view name, std::int64_t in)
      : Layer(parent, name),
        norm_(*this, "norm", in),
        conv_(*this, "conv", in, in / 2, 1, {.bias = false}) {}
  Var forward(Var x) const override { return avg_pool2d(conv_(relu(norm_(x))), {}); }

 private:
  BatchNorm2d norm_;
  Conv2d conv_;
};

class Features final : public Layer {
 public:
  Features(Module& parent, std::string_view name, std::int64_t in, std::int64_t first,
           std::int64_t growth)
      : Layer(parent, name),
        conv0_(*this, "conv0", in, first, 7, {.stride = 2, .padding = 3, .bias = false}),
        norm0_(*this, "norm0", first) {
    constexpr int kLayers[] = {6, 12, 24, 16};
    channels_ = first;
    for (int i = 0; i < 4; ++i) {
      const std::string number = std::to_string(i + 1);
      stages_.push_back(std::make_unique<DenseBlock>(*this, "denseblock" + number, kLayers[i],
                                                     channels_, growth));
      channels_ += kLayers[i] * growth;
      if (i == 3) break;
      stages_.push_back(std::make_unique<Transition>(*this, "transition" + number, channels_));
      channels_ /= 2;
    }
    norm5_ = std::make_unique<BatchNorm2d>(*this, "norm5", channels_);
  }
  std::int64_t channels() const { return channels_; }
  Var forward(Var x) const override {
    x = relu(norm0_(conv0_(x)));
    x = max_pool2d(x, {.kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1});
    for (const auto& stage : stages_) x = (*stage)(x);
    return relu((*norm5_)(x));
  }

 private:
  Conv2d conv0_;
  BatchNorm2d norm0_;
  std::vector<std::unique_ptr<Layer>> stages_;
  std::unique_ptr<BatchNorm2d> norm5_;
  std::int64_t channels_ = 0;
};

// Every layer of a block reads what all layers before it made.
class DenseNet121 final : public Classifier {
 public:
  explicit DenseNet121(const ModelConfig& c)
      : Classifier(c),
        features_(*this, "features", c.channels, scaled(64), scaled(32)),
        classifier_(*this, "classifier", features_.channels(), c.classes,
                    {.initial = initialise::uniform_fan_in(features_.channels())}) {}
  Var logits(Var x) const override { return classifier_(global_avg_pool2d(features_(x))); }

 private:
  Features features_;
  Linear classifier_;
};

}  // namespace

std::unique_ptr<Classifier> densenet121(const ModelConfig& config) {
  return std::make_unique<DenseNet121>(config);
}

}  // namespace tapescope::backbones
