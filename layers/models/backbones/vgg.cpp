#include "layers/layers.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/blocks.h"

namespace tapescope::backbones {
namespace {

// Thirteen 3x3 convolutions in five groups with a pool behind each, three linear layers.
class Vgg16 final : public Classifier {
 public:
  explicit Vgg16(const ModelConfig& c)
      : Classifier(c), features_(*this, "features"), classifier_(*this, "classifier") {
    constexpr int kPool = 0;
    std::int64_t in = c.channels;
    for (const int width : {64, 64, kPool, 128, 128, kPool, 256, 256, 256, kPool, 512, 512, 512,
                            kPool, 512, 512, 512, kPool}) {
      if (width == kPool) {
        features_.append<Function>([](Var x) { return max_pool2d(x, {}); });
        continue;
      }
      const std::int64_t out = scaled(width);
      features_.append<Conv2d>(in, out, 3,
                               ConvOptions{.padding = 1, .initial = he_fan_out(out, 3)});
      features_.append<BatchNorm2d>(out).append<Function>(relu);
      in = out;
    }
    const std::int64_t hidden = scaled(4096);
    const LinearOptions small{.initial = normal(0.01)};
    classifier_.append<Linear>(in * kSide * kSide, hidden, small).append<Function>(relu);
    classifier_.append<Dropout>(0.5).append<Linear>(hidden, hidden, small);
    classifier_.append<Function>(relu).append<Dropout>(0.5);
    classifier_.append<Linear>(hidden, c.classes, small);
  }
  Var logits(Var x) const override {
    return classifier_(flatten(adaptive_avg_pool2d(features_(x), kSide)));
  }

 private:
  static constexpr std::int64_t kSide = 7;  // of the feature map that the linear layers see
  Sequential features_, classifier_;
};

}  // namespace

std::unique_ptr<Classifier> vgg16_bn(const ModelConfig& config) {
  return std::make_unique<Vgg16>(config);
}

}  // namespace tapescope::backbones
