#include <algorithm>

#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/inverted_residual.h"

namespace tapescope::backbones {
namespace {

class MobileNetV2 final : public Classifier {
 public:
  explicit MobileNetV2(const ModelConfig& c)
      : Classifier(c), features_(*this, "features"), classifier_(*this, "classifier") {
    struct Row {
      std::int64_t expansion, out, blocks, stride;
    };
    constexpr Row kRows[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    std::int64_t in = divisible(32 * c.width);
    const std::int64_t last = divisible(1280 * std::max(1.0, c.width));
    features_.append<ConvNorm>(c.channels, in, ConvNormOptions{.stride = 2, .activation = relu6});
    for (const Row& row : kRows) {
      const std::int64_t out = divisible(static_cast<double>(row.out) * c.width);
      for (std::int64_t i = 0; i < row.blocks; ++i) {
        features_.append<InvertedResidual>(
            InvertedResidualOptions{.in = in,
                                    .wide = in * row.expansion,
                                    .out = out,
                                    .stride = i == 0 ? row.stride : 1,
                                    .activation = relu6,
                                    .named_as_v2 = true});
        in = out;
      }
    }
    features_.append<ConvNorm>(in, last, ConvNormOptions{.kernel = 1, .activation = relu6});
    classifier_.append<Dropout>(0.2).append<Linear>(last, c.classes,
                                                    LinearOptions{.initial = normal(0.01)});
  }
  Var logits(Var x) const override { return classifier_(global_avg_pool2d(features_(x))); }

 private:
  Sequential features_, classifier_;
};

struct BlockRow {  // of the paper's tables 1 and 2
  std::int64_t kernel, wide, out;
  bool squeeze, hard_swish;
  std::int64_t stride;
};
constexpr BlockRow kLarge[] = {
    {3, 16, 16, false, false, 1}, {3, 64, 24, false, false, 2}, {3, 72, 24, false, false, 1},
    {5, 72, 40, true, false, 2},  {5, 120, 40, true, false, 1}, {5, 120, 40, true, false, 1},
    {3, 240, 80, false, true, 2}, {3, 200, 80, false, true, 1}, {3, 184, 80, false, true, 1},
    {3, 184, 80, false, true, 1}, {3, 480, 112, true, true, 1}, {3, 672, 112, true, true, 1},
    {5, 672, 160, true, true, 2}, {5, 960, 160, true, true, 1}, {5, 960, 160, true, true, 1},
};
constexpr BlockRow kSmall[] = {
    {3, 16, 16, true, false, 2}, {3, 72, 24, false, false, 2}, {3, 88, 24, false, false, 1},
    {5, 96, 40, true, true, 2},  {5, 240, 40, true, true, 1},  {5, 240, 40, true, true, 1},
    {5, 120, 48, true, true, 1}, {5, 144, 48, true, true, 1},  {5, 288, 96, true, true, 2},
    {5, 576, 96, true, true, 1}, {5, 576, 96, true, true, 1},
};

Var gate_of_v3(Var x) { return hard_sigmoid(x); }

class MobileNetV3 final : public Classifier {
 public:
  MobileNetV3(const ModelConfig& c, std::span<const BlockRow> rows, std::int64_t hidden)
      : Classifier(c), features_(*this, "features"), classifier_(*this, "classifier") {
    const BatchNormOptions norm{.epsilon = 1e-3, .momentum = 0.01};
    const auto width = [&](std::int64_t n) { return divisible(static_cast<double>(n) * c.width); };
    std::int64_t in = width(16);
    features_.append<ConvNorm>(
        c.channels, in, ConvNormOptions{.stride = 2, .activation = hard_swish, .norm = norm});
    for (const BlockRow& row : rows) {
      const std::int64_t wide = width(row.wide);
      features_.append<InvertedResidual>(InvertedResidualOptions{
          .in = in,
          .wide = wide,
          .out = width(row.out),
          .kernel = row.kernel,
          .stride = row.stride,
          .activation = row.hard_swish ? Activation(hard_swish) : Activation(relu),
          .norm = norm,
          .squeezed = row.squeeze ? divisible(static_cast<double>(wide / 4)) : 0,
          .squeeze_gate = gate_of_v3});
      in = width(row.out);
    }
    features_.append<ConvNorm>(
        in, 6 * in, ConvNormOptions{.kernel = 1, .activation = hard_swish, .norm = norm});
    const LinearOptions small{.initial = normal(0.01)};
    classifier_.append<Linear>(6 * in, width(hidden), small).append<Function>(hard_swish);
    classifier_.append<Dropout>(0.2).append<Linear>(width(hidden), c.classes, small);
  }
  Var logits(Var x) const override { return classifier_(global_avg_pool2d(features_(x))); }

 private:
  Sequential features_, classifier_;
};

}  // namespace

std::unique_ptr<Classifier> mobilenet_v2(const ModelConfig& config) {
  return std::make_unique<MobileNetV2>(config);
}
std::unique_ptr<Classifier> mobilenet_v3_large(const ModelConfig& config) {
  return std::make_unique<MobileNetV3>(config, kLarge, 1280);
}
std::unique_ptr<Classifier> mobilenet_v3_small(const ModelConfig& config) {
  return std::make_unique<MobileNetV3>(config, kSmall, 1024);
}

}  // namespace tapescope::backbones
