#include "layers/initialise.h"
#include "layers/layers.h"
#include "layers/models/backbones/backbones.h"
#include "layers/models/backbones/blocks.h"

namespace tapescope::backbones {
namespace {

constexpr double kDeviation = 0.02;

// Over the channels of each position.
class LayerNorm final : public Layer {
 public:
  LayerNorm(Module& parent, std::string_view name, std::int64_t channels) : Layer(parent, name) {
    using initialise::constant;
    weight_ = add_parameter("weight", Parameter::Kind::bias, {channels}, constant(1));
    bias_ = add_parameter("bias", Parameter::Kind::bias, {channels}, constant(0));
  }
  Var forward(Var x) const override {
    constexpr double kEpsilon = 1e-6;
    Tape& tape = x.tape();
    const Var scale = tape.parameter(weight_), shift = tape.parameter(bias_);
    return layer_norm(x, scale, shift, kEpsilon);
  }

 private:
  ParameterRef weight_, bias_;
};

// A linear layer at each position: a 1x1 convolution, whose weights are stored {out, in}.
class Pointwise final : public Layer {
 public:
  Pointwise(Module& parent, std::string_view name, std::int64_t in, std::int64_t out)
      : Layer(parent, name) {
    weight_ = add_parameter("weight", Parameter::Kind::weight, {out, in}, normal(kDeviation));
    bias_ = add_parameter("bias", Parameter::Kind::bias, {out}, initialise::constant(0));
  }
  Var forward(Var x) const override {
    Tape& tape = x.tape();
    const Shape& stored = weight_->value.shape();
    const Var weight = reshape_all(tape.parameter(weight_), {stored[0], 1, 1, stored[1]});
    return conv2d(x, weight, tape.parameter(bias_), {});
  }

 private:
  ParameterRef weight_, bias_;
};

// Depthwise 7x7 - layer norm - four times as wide - GELU - back, scaled by a number per channel,
// plus the input.
class ConvNextBlock final : public Layer {
 public:
  ConvNextBlock(Module& parent, std::string_view name, std::int64_t channels, double drop)
      : Layer(parent, name), drop_(drop) {
    constexpr double kScale = 1e-6;
    scale_ = add_parameter("layer_scale", Parameter::Kind::bias, {channels, 1, 1},
                           initialise::constant(kScale));
    block_ = std::make_unique<Sequential>(*this, "block");
    const ConvOptions depthwise{.padding = 3, .groups = channels, .initial = normal(kDeviation)};
    const auto stays = [](Var x) { return x; };  // torchvision turns NCHW to NHWC and back
    block_->append<Conv2d>(channels, channels, 7, depthwise).append<Function>(stays);
    block_->append<LayerNorm>(channels).append<Pointwise>(channels, 4 * channels);
    block_->append<Function>(gelu).append<Pointwise>(4 * channels, channels);
  }
  Var forward(Var x) const override {
    Tape& tape = x.tape();
    const Var y = (*block_)(x);
    const Var scaled = mul(y, reshape_all(tape.parameter(scale_), {y.shape()[3]}));
    // A frozen block is what it is in an evaluation.
    return add(trained_parameters().empty() ? scaled : stochastic_depth(scaled, drop_), x);
  }

 private:
  double drop_;
  ParameterRef scale_;
  std::unique_ptr<Sequential> block_;
};

class ConvNextStage final : public Layer {
 public:
  // `before`: blocks of the stages before.
  ConvNextStage(Module& parent, std::string_view name, std::int64_t channels, int blocks,
                int before)
      : Layer(parent, name) {
    constexpr double kDrop = 0.1, kBlocksBefore = 17;  // stochastic depth of the last block
    for (int i = 0; i < blocks; ++i) {
      blocks_.push_back(std::make_unique<ConvNextBlock>(*this, std::to_string(i), channels,
                                                        kDrop * (before + i) / kBlocksBefore));
    }
  }
  Var forward(Var x) const override {
    for (const auto& block : blocks_) x = (*block)(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<ConvNextBlock>> blocks_;
};

// Four pixels by four, or two feature positions by two, become one position.
ConvOptions patches(std::int64_t size) { return {.stride = size, .initial = normal(kDeviation)}; }
class Stem final : public Layer {
 public:
  Stem(Module& parent, std::string_view name, std::int64_t in, std::int64_t out)
      : Layer(parent, name), conv_(*this, "0", in, out, 4, patches(4)), norm_(*this, "1", out) {}
  Var forward(Var x) const override { return norm_(conv_(x)); }

 private:
  Conv2d conv_;
  LayerNorm norm_;
};
class Downsample final : public Layer {
 public:
  Downsample(Module& parent, std::string_view name, std::int64_t in, std::int64_t out)
      : Layer(parent, name), norm_(*this, "0", in), conv_(*this, "1", in, out, 2, patches(2)) {}
  Var forward(Var x) const override { return conv_(norm_(x)); }

 private:
  LayerNorm norm_;
  Conv2d conv_;
};

class ConvNextTiny final : public Classifier {
 public:
  explicit ConvNextTiny(const ModelConfig& c)
      : Classifier(c), features_(*this, "features"), classifier_(*this, "classifier") {
    struct Row {
      std::int64_t channels;
      int blocks;
    };
    std::int64_t in = c.channels;
    int before = 0;
    for (const Row& row : {Row{96, 3}, Row{192, 3}, Row{384, 9}, Row{768, 3}}) {
      const std::int64_t channels = scaled(row.channels);
      if (before == 0) {
        features_.append<Stem>(in, channels);
      } else {
        features_.append<Downsample>(in, channels);
      }
      features_.append<ConvNextStage>(channels, row.blocks, before);
      in = channels;
      before += row.blocks;
    }
    classifier_.append<LayerNorm>(in).append<Function>(flatten);
    classifier_.append<Linear>(in, c.classes, LinearOptions{.initial = normal(kDeviation)});
  }
  Var logits(Var x) const override { return classifier_(global_avg_pool2d(features_(x))); }

 private:
  Sequential features_, classifier_;
};

}  // namespace

std::unique_ptr<Classifier> convnext_tiny(const ModelConfig& config) {
  return std::make_unique<ConvNextTiny>(config);
}

}  // namespace tapescope::backbones
