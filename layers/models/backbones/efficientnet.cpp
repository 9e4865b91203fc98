#include <algorithm>

#include "layers/initialise.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/inverted_residual.h"

namespace tapescope::backbones {
namespace {

// Of the paper's table 1, without the first convolution (32 channels) and the last.
struct StageRow {
  std::int64_t expansion, kernel, stride, out, blocks;
};
constexpr StageRow kStages[] = {{1, 3, 1, 16, 1}, {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2},
                                {6, 3, 2, 80, 3}, {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4},
                                {6, 3, 1, 320, 1}};
constexpr std::int64_t kFirst = 32, kLast = 1280, kBlocks = 16;
constexpr double kDropout = 0.2;

std::int64_t scaled_width(std::int64_t channels, const ModelConfig& c) {
  return divisible(static_cast<double>(channels) * c.width);
}

// --- torchvision's B0

class MBConvStage final : public Layer {
 public:
  // `before`: blocks of the stages before.
  MBConvStage(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
              const StageRow& row, std::int64_t before)
      : Layer(parent, name) {
    constexpr double kDrop = 0.2;  // stochastic depth of a block behind the last one
    for (std::int64_t i = 0; i < row.blocks; ++i) {
      const double depth = static_cast<double>(before + i) / kBlocks;
      const InvertedResidualOptions options{.in = in,
                                            .wide = in * row.expansion,
                                            .out = out,
                                            .kernel = row.kernel,
                                            .stride = i == 0 ? row.stride : 1,
                                            .activation = silu,
                                            .squeezed = std::max<std::int64_t>(1, in / 4),
                                            .squeeze_activation = silu,
                                            .drop = kDrop * depth};
      blocks_.push_back(std::make_unique<InvertedResidual>(*this, std::to_string(i), options));
      in = out;
    }
  }
  Var forward(Var x) const override {
    for (const auto& block : blocks_) x = (*block)(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<InvertedResidual>> blocks_;
};

class EfficientNetB0 final : public Classifier {
 public:
  explicit EfficientNetB0(const ModelConfig& c)
      : Classifier(c), features_(*this, "features"), classifier_(*this, "classifier") {
    std::int64_t in = scaled_width(kFirst, c), before = 0;
    features_.append<ConvNorm>(c.channels, in, ConvNormOptions{.stride = 2, .activation = silu});
    for (const StageRow& row : kStages) {
      const std::int64_t out = scaled_width(row.out, c);
      features_.append<MBConvStage>(in, out, row, before);
      in = out;
      before += row.blocks;
    }
    const std::int64_t last = 4 * in;
    features_.append<ConvNorm>(in, last, ConvNormOptions{.kernel = 1, .activation = silu});
    classifier_.append<Dropout>(kDropout).append<Linear>(
        last, c.classes, LinearOptions{.initial = initialise::uniform_fan_in(last)});
  }
  Var logits(Var x) const override { return classifier_(global_avg_pool2d(features_(x))); }

 private:
  Sequential features_, classifier_;
};

// --- timm's Lite0

// What the two of timm differ in.
struct Flavour {
  bool same_padding;  // TensorFlow's: as much as the last window needs, the odd row and column last
  BatchNormOptions norm;
};

class LiteConv final : public Layer {
 public:
  LiteConv(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
           std::int64_t kernel, std::int64_t stride, std::int64_t groups, const Flavour& flavour)
      : Layer(parent, name), same_(flavour.same_padding), options_{stride, stride} {
    options_.groups = groups;
    weight_ = add_parameter("weight", Parameter::Kind::weight, {out, kernel, kernel, in / groups},
                            he_fan_out(out, kernel, groups));
  }
  Var forward(Var x) const override {
    const std::int64_t kernel = weight_->value.shape()[1];
    const Var weight = x.tape().parameter(weight_);
    Conv2dOptions options = options_;
    if (!same_) {
      options.pad_h = options.pad_w = (kernel - 1) / 2;
      return conv2d(x, weight, {}, options);
    }
    const auto missing = [&](std::int64_t extent) {
      const std::int64_t stride = options.stride_h, out = (extent + stride - 1) / stride;
      return std::max<std::int64_t>((out - 1) * stride + kernel - extent, 0);
    };
    const std::int64_t h = missing(x.shape()[1]), w = missing(x.shape()[2]);
    if (h % 2 == 0 && w % 2 == 0) {
      options.pad_h = h / 2;
      options.pad_w = w / 2;
      return conv2d(x, weight, {}, options);
    }
    const std::int64_t before[] = {0, h / 2, w / 2, 0}, after[] = {0, h - h / 2, w - w / 2, 0};
    return conv2d(pad(x, before, after), weight, {}, options);
  }

 private:
  bool same_;
  Conv2dOptions options_;
  ParameterRef weight_;
};

// timm's DepthwiseSeparableConv (expansion 1) and InvertedResidual, with ReLU6.
class LiteBlock final : public Layer {
 public:
  LiteBlock(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
            std::int64_t kernel, std::int64_t stride, std::int64_t expansion,
            const Flavour& flavour)
      : Layer(parent, name), shortcut_(stride == 1 && in == out) {
    const std::int64_t wide = in * expansion;
    const auto add = [&](const char* conv, std::int64_t from, std::int64_t to, std::int64_t size,
                         std::int64_t step, std::int64_t groups) {
      convs_.push_back(
          std::make_unique<LiteConv>(*this, conv, from, to, size, step, groups, flavour));
      const std::string norm = "bn" + std::to_string(norms_.size() + 1);
      norms_.push_back(std::make_unique<BatchNorm2d>(*this, norm, to, flavour.norm));
    };
    if (expansion > 1) add("conv_pw", in, wide, 1, 1, 1);
    add("conv_dw", wide, wide, kernel, stride, wide);
    add(expansion > 1 ? "conv_pwl" : "conv_pw", wide, out, 1, 1, 1);
  }
  Var forward(Var x) const override {
    Var y = x;
    for (std::size_t i = 0; i < convs_.size(); ++i) {
      y = (*norms_[i])((*convs_[i])(y));
      if (i + 1 < convs_.size()) y = relu6(y);
    }
    return shortcut_ ? add(y, x) : y;
  }

 private:
  bool shortcut_;
  std::vector<std::unique_ptr<LiteConv>> convs_;
  std::vector<std::unique_ptr<BatchNorm2d>> norms_;
};

class LiteStage final : public Layer {
 public:
  LiteStage(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
            const StageRow& row, const Flavour& flavour)
      : Layer(parent, name) {
    for (std::int64_t i = 0; i < row.blocks; ++i) {
      blocks_.push_back(std::make_unique<LiteBlock>(*this, std::to_string(i), i == 0 ? in : out,
                                                    out, row.kernel, i == 0 ? row.stride : 1,
                                                    row.expansion, flavour));
    }
  }
  Var forward(Var x) const override {
    for (const auto& block : blocks_) x = (*block)(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<LiteBlock>> blocks_;
};

// The first and the last convolution have one size at any width.
class EfficientNetLite0 final : public Classifier {
 public:
  EfficientNetLite0(const ModelConfig& c, const Flavour& flavour)
      : Classifier(c),
        conv_stem_(*this, "conv_stem", c.channels, kFirst, 3, 2, 1, flavour),
        bn1_(*this, "bn1", kFirst, flavour.norm),
        blocks_(*this, "blocks"),
        conv_head_(*this, "conv_head", scaled_width(kStages[std::size(kStages) - 1].out, c), kLast,
                   1, 1, 1, flavour),
        bn2_(*this, "bn2", kLast, flavour.norm),
        dropout_(*this, "dropout", kDropout),
        classifier_(*this, "classifier", kLast, c.classes,
                    {.initial = initialise::uniform_fan_in(kLast)}) {
    std::int64_t in = kFirst;
    for (const StageRow& row : kStages) {
      const std::int64_t out = scaled_width(row.out, c);
      blocks_.append<LiteStage>(in, out, row, flavour);
      in = out;
    }
  }
  Var logits(Var x) const override {
    x = blocks_(relu6(bn1_(conv_stem_(x))));
    x = relu6(bn2_(conv_head_(x)));
    return classifier_(dropout_(global_avg_pool2d(x)));
  }

 private:
  LiteConv conv_stem_;
  BatchNorm2d bn1_;
  Sequential blocks_;
  LiteConv conv_head_;
  BatchNorm2d bn2_;
  Dropout dropout_;
  Linear classifier_;
};

}  // namespace

std::unique_ptr<Classifier> efficientnet_b0(const ModelConfig& config) {
  return std::make_unique<EfficientNetB0>(config);
}
std::unique_ptr<Classifier> efficientnet_lite0(const ModelConfig& config) {
  return std::make_unique<EfficientNetLite0>(config, Flavour{false, {}});
}
std::unique_ptr<Classifier> tf_efficientnet_lite0(const ModelConfig& config) {
  return std::make_unique<EfficientNetLite0>(config, Flavour{true, {.epsilon = 1e-3}});
}

}  // namespace tapescope::backbones
