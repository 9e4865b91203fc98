#include "tools/detection/centre_detector.h"

#include <algorithm>
#include <cmath>

#include "engine/hash.h"
#include "layers/models/zoo.h"
#include "tools/detection/detection_losses.h"
#include "tools/detection/detection_task.h"

namespace tapescope::detection {
namespace {

// conv3x3 - bn - relu
void append_unit(Sequential& to, std::int64_t in, std::int64_t out, std::int64_t stride = 1) {
  to.append<Conv2d>(in, out, 3, ConvOptions{.stride = stride, .padding = 1, .bias = false})
      .append<BatchNorm2d>(out)
      .append<Function>([](Var x) { return relu(x); });
}

void append_head(Sequential& to, std::int64_t hidden, std::int64_t out, float bias, float spread) {
  append_unit(to, hidden, hidden);
  to.append<Conv2d>(hidden, out, 1);
  const std::vector<ParameterRef> own = to.parameters();
  for (float& v : own.back()->value.values<float>()) v = bias;
  for (float& v : own[own.size() - 2]->value.values<float>()) v *= spread;
}

const DetectorConfig& checked(const DetectorConfig& config) {
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
  return config;
}

constexpr float kReach = 16;  // pixels per unit of the last convolution

}  // namespace

std::int64_t CentreDetector::scaled(std::int64_t channels) const {
  const double wanted = static_cast<double>(channels) * config_.channel_scale;
  return std::max<std::int64_t>(8, 8 * std::llround(wanted / 8));
}

CentreDetector::CentreDetector(const DetectorConfig& config)
    : BoxNet(checked(config).seed, config.room),
      config_(config),
      backbone_(config.backbone.empty() ? nullptr : std::make_unique<Backbone>(config)),
      channels_(backbone_ ? backbone_->channels()
                          : std::array{scaled(32), scaled(64), scaled(128)}),
      level4_(*this, "level4"),
      level8_(*this, "level8"),
      level16_(*this, "level16"),
      lateral16_(*this, "lateral16", channels_[2], scaled(48), 1),
      lateral8_(*this, "lateral8", channels_[1], scaled(48), 1),
      lateral4_(*this, "lateral4", channels_[0], scaled(48), 1),
      smooth8_(*this, "smooth8"),
      smooth4_(*this, "smooth4"),
      heat_(*this, "heat"),
      ltrb_(*this, "ltrb") {
  config_.room = nullptr;  // of this model alone: others of its kind draw their values
  const std::int64_t hidden = scaled(48);
  if (!backbone_) {
    make_levels();
  } else {
    for (const ParameterRef& parameter : backbone_->parameters()) adopt(parameter);
  }
  append_unit(smooth8_, hidden, hidden);
  append_unit(smooth4_, hidden, hidden);
  // At first every cell says 1 %: otherwise the many empty cells would drown the few centres (Lin
  // et al. 2017, section 4.1).
  append_head(heat_, hidden, static_cast<std::int64_t>(config.classes.size()), -std::log(99.0f),
              0.1f);
  append_head(ltrb_, hidden, 4, 1.0f, 0.1f);
}

void CentreDetector::make_levels() {
  const auto [c4, c8, c16] = channels_;
  const std::int64_t c2 = scaled(16);
  append_unit(level4_, 3, c2, 2);
  append_unit(level4_, c2, c4, 2);
  level4_.append<BasicBlock>(c4, c4, 1);
  append_unit(level8_, c4, c8, 2);
  level8_.append<BasicBlock>(c8, c8, 1).append<BasicBlock>(c8, c8, 1);
  append_unit(level16_, c8, c16, 2);
  level16_.append<BasicBlock>(c16, c16, 1).append<BasicBlock>(c16, c16, 1);
}

std::array<Var, 3> CentreDetector::levels(Var image) const {
  if (backbone_) return backbone_->maps(image);
  const Var stride4 = level4_(image), stride8 = level8_(stride4);
  return {stride4, stride8, level16_(stride8)};
}

NamedVars CentreDetector::operator()(const NamedVars& inputs) const {
  const auto it = inputs.find("image");
  if (it == inputs.end()) throw usage_error("[centre-detector] needs an input 'image'");
  const Var x = it->second;
  if (x.shape().rank() != 4 || x.shape()[3] != 3) {
    throw usage_error("[centre-detector] the image must be {{N, H, W, 3}}, not {}",
                      to_string(x.shape()));
  }
  const auto [stride4, stride8, stride16] = levels(x);
  Var merged = lateral16_(stride16);
  merged = smooth8_(add(upsample_nearest(merged, 2), lateral8_(stride8)));
  merged = smooth4_(add(upsample_nearest(merged, 2), lateral4_(stride4)));
  const Var sides = affine(relu(widened(ltrb_(merged))), kReach);
  return {{"heat", widened(heat_(merged))}, {"ltrb", sides}};
}

Grid CentreDetector::grid() const {
  const std::int64_t h = config_.height / kStride, w = config_.width / kStride;
  return {{{kStride, static_cast<int>(h), static_cast<int>(w)}}, h, w};
}

CellVars CentreDetector::cells(const NamedVars& outputs) const {
  const Var boxes = decode_sides(outputs.at("ltrb"), kStride);
  return {sigmoid(outputs.at("heat")), boxes};
}

std::string CentreDetector::shared_map(int /*y*/, int /*x*/) const { return "smooth4/2/relu"; }

std::unique_ptr<Task> CentreDetector::task(std::shared_ptr<const DetectionSource> source) const {
  return std::make_unique<DetectionTask>(config_, std::move(source));
}

std::unique_ptr<BoxNet> CentreDetector::randomised(DetectorPart part, std::uint64_t seed) const {
  DetectorConfig config = config_;
  config.seed = mix(config.seed, seed + 1);
  auto result = std::make_unique<CentreDetector>(config);
  const auto part_of = [](const std::string& name) {
    if (name.starts_with("heat.") || name.starts_with("ltrb.")) return DetectorPart::head;
    if (name.starts_with("lateral") || name.starts_with("smooth")) return DetectorPart::neck;
    return DetectorPart::backbone;
  };
  const std::vector<ParameterRef> trained = parameters(), fresh = result->parameters();
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (part_of(trained[i]->name) == part) continue;
    fresh[i]->value.copy_from(trained[i]->value);
    fresh[i]->changed();
  }
  return result;
}

}  // namespace tapescope::detection
