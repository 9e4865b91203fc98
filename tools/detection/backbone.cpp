#include "tools/detection/backbone.h"

#include <set>

#include "autograd/leaf.h"
#include "autograd/reach.h"
#include "layers/models/zoo.h"
#include "tools/data/transforms.h"

namespace tapescope::detection {

InputForm form_of_backbone(const std::string& name) {
  if (name.empty()) return {};
  if (name.starts_with("tf_")) return {false, {0.498}, {0.502}};
  const Normalize colours = imagenet_normalize();
  return {false, colours.mean, colours.std};
}

// A whole net has at most so many times the values of its part before stride 32: vgg16_bn 18.
constexpr std::int64_t kWhole = 20;

Backbone::Backbone(const DetectorConfig& config) {
  ModelConfig model{.name = config.backbone, .channels = 3, .width = config.channel_scale};
  model.image_size = config.height;
  model.image_width = config.width;
  model.seed = config.seed;
  if (config.room) model.room = std::make_shared<std::int64_t>(kWhole * *config.room);
  net_ = make_model(model);
  Tape tape(Device::cpu(), Mode::evaluation);
  const std::array<Var, 3> found =
      maps(tape.input("image", DType::f32, model.image().with_leading(1)));
  for (std::size_t i = 0; i < found.size(); ++i) channels_[i] = found[i].shape()[3];
  const std::vector<bool> leads = leading_to(tape, found, Through::everything);
  std::set<const Parameter*> used;
  for (const Node* node : tape.nodes()) {
    const auto* leaf = dynamic_cast<const ParameterOp*>(node->op.get());
    if (leaf != nullptr && leads[node->index]) used.insert(leaf->parameter.get());
  }
  for (const ParameterRef& parameter : net_->parameters()) {
    if (!used.contains(parameter.get())) continue;
    parameters_.push_back(parameter);
    if (config.room) *config.room -= parameter->value.elements();
  }
  if (config.room && *config.room < 0) throw usage_error("no room for {}", config.backbone);
}

std::array<Var, 3> Backbone::maps(Var image) const {
  Tape& tape = image.tape();
  // What follows the maps is recorded first, and needs its parameters where the image is.
  move_to(tape.device(), net_->parameters());
  const std::uint32_t before = tape.mark();
  net_->logits(image);
  std::array<Var, 3> found;
  for (const Node* node : tape.nodes().subspan(before)) {
    const Shape& shape = node->types()[0].shape;
    if (shape.rank() != 4 || shape[0] != image.shape()[0] || node->op->is_leaf()) continue;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::int64_t stride = std::int64_t{4} << i;
      if (shape[1] * stride == image.shape()[1] && shape[2] * stride == image.shape()[2]) {
        found[i] = node->out();
      }
    }
  }
  std::uint32_t last = before;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) {
      throw usage_error(
          "--backbone {}: it has no maps of stride {} for pictures of {}x{}; nets with strides of "
          "4, "
          "8 and 16 are possible, such as resnet18, mobilenet_v2 and tf_efficientnet_lite0",
          net_->config().name, 4 << i, image.shape()[1], image.shape()[2]);
    }
    last = std::max(last, found[i].node->index);
  }
  tape.rollback(last + 1);
  return found;
}

}  // namespace tapescope::detection
