#include "tools/detection/centre_detector.h"

#include <algorithm>
#include <cmath>

#include "layers/models/zoo.h"

namespace tapescope::detection {
namespace {

// conv3x3 - bn - relu
void append_unit(Sequential& to, std::int64_t in, std::int64_t out, std::int64_t stride = 1) {
  to.append<Conv2d>(in, out, 3, ConvOptions{.stride = stride, .padding = 1, .bias = false})
      .append<BatchNorm2d>(out)
      .append<Function>([](Var x) { return relu(x); });
}

constexpr float kReach = 16;  // pixels a unit of the last convolution

}  // namespace

std::int64_t CentreDetector::scaled(std::int64_t channels) const {
  const double wanted = static_cast<double>(channels) * config_.channel_scale;
  return std::max<std::int64_t>(8, 8 * std::llround(wanted / 8));
}

CentreDetector::CentreDetector(const DetectorConfig& config)
    : Model(Build{config.seed, ""}), config_(config) {
  if (config.height % 16 != 0 || config.width % 16 != 0 || config.height < 32 ||
      config.width < 32) {
    throw usage_error("the detector's input is {}x{}; both must be multiples of 16, at least 32",
                      config.width, config.height);
  }
  if (config.height > kLargestImage || config.width > kLargestImage ||
      !(config.channel_scale > 0) || config.channel_scale > kLargestWidth) {
    throw usage_error(
        "the detector's input is {}x{} and its width {}; at most {} and {} are possible",
        config.width, config.height, config.channel_scale, kLargestImage, kLargestWidth);
  }
  if (config.classes.empty()) throw usage_error("a detector needs at least one class");
  const std::int64_t c2 = scaled(16), c4 = scaled(32), c8 = scaled(64), c16 = scaled(128);
  const std::int64_t hidden = scaled(48);
  const auto level = [&](const char* name) {
    levels_.push_back(add_child<Sequential>(name));
    return levels_.back();
  };
  const auto first = level("level4");
  append_unit(*first, 3, c2, 2);
  append_unit(*first, c2, c4, 2);
  first->append<BasicBlock>(c4, c4, 1);
  const auto second = level("level8");
  append_unit(*second, c4, c8, 2);
  second->append<BasicBlock>(c8, c8, 1).append<BasicBlock>(c8, c8, 1);
  const auto third = level("level16");
  append_unit(*third, c8, c16, 2);
  third->append<BasicBlock>(c16, c16, 1).append<BasicBlock>(c16, c16, 1);
  laterals_ = {add_child<Conv2d>("lateral16", c16, hidden, 1),
               add_child<Conv2d>("lateral8", c8, hidden, 1),
               add_child<Conv2d>("lateral4", c4, hidden, 1)};
  for (const char* name : {"smooth8", "smooth4"}) {
    smoothing_.push_back(add_child<Sequential>(name));
    append_unit(*smoothing_.back(), hidden, hidden);
  }
  const auto head = [&](const char* name, std::int64_t out, float bias, float spread) {
    const auto layers = add_child<Sequential>(name);
    append_unit(*layers, hidden, hidden);
    layers->append<Conv2d>(hidden, out, 1);
    const std::vector<ParameterRef> own = layers->parameters();
    for (float& v : own.back()->value.values<float>()) v = bias;
    for (float& v : own[own.size() - 2]->value.values<float>()) v *= spread;
    return layers;
  };
  const auto classes = static_cast<std::int64_t>(config.classes.size());
  // At first every cell says 1 %: otherwise the many empty cells would drown the few centres (Lin
  // et al. 2017, section 4.1).
  heat_ = head("heat", classes, -std::log(99.0f), 0.1f);
  ltrb_ = head("ltrb", 4, 1.0f, 0.1f);
}

NamedVars CentreDetector::operator()(Tape& tape, const NamedVars& inputs) {
  const auto it = inputs.find("image");
  if (it == inputs.end() || it->second.node->tape != &tape) {
    throw usage_error("[centre-detector] needs an input 'image' on its tape");
  }
  Var x = it->second;
  if (x.shape().rank() != 4 || x.shape()[3] != 3) {
    throw usage_error("[centre-detector] the image must be {{N, H, W, 3}}, not {}",
                      to_string(x.shape()));
  }
  std::vector<Var> features;
  for (const auto& level : levels_) features.push_back(x = (*level)(x));
  Var merged = (*laterals_[0])(features[2]);
  for (std::size_t i = 0; i < 2; ++i) {
    merged = add(upsample_nearest(merged, 2), (*laterals_[i + 1])(features[1 - i]));
    merged = (*smoothing_[i])(merged);
  }
  const Var sides = affine(relu((*ltrb_)(merged)), kReach);
  return {{"heat", (*heat_)(merged)}, {"ltrb", sides}};
}

}  // namespace tapescope::detection
