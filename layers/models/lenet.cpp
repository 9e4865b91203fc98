#include "layers/models/lenet.h"

namespace tapescope {
namespace {

std::int64_t pixels_after_two_poolings(const ModelConfig& c) {
  const std::int64_t side = c.image_size / 2 / 2;
  return side * side;
}

}  // namespace

LeNet::LeNet(const ModelConfig& c)
    : Classifier(c),
      conv1_(*this, "conv1", c.channels, scaled(24), 5, {.padding = 2}),
      conv2_(*this, "conv2", scaled(24), scaled(48), 5, {.padding = 2}),
      fc1_(*this, "fc1", scaled(48) * pixels_after_two_poolings(c), scaled(256)),
      dropout_(*this, "dropout", 0.5),
      fc2_(*this, "fc2", scaled(256), c.classes, {.relu_follows = false}) {}

Var LeNet::logits(Var image) const {
  Var x = max_pool2d(with_relu(conv1_, image), {});
  x = max_pool2d(with_relu(conv2_, x), {});
  return fc2_(dropout_(with_relu(fc1_, flatten(x))));
}

Mlp::Mlp(const ModelConfig& c)
    : Classifier(c),
      fc1_(*this, "fc1", c.image_size * c.image_size * c.channels, scaled(256)),
      fc2_(*this, "fc2", scaled(256), scaled(128)),
      fc3_(*this, "fc3", scaled(128), c.classes, {.relu_follows = false}) {}

Var Mlp::logits(Var image) const { return fc3_(with_relu(fc2_, with_relu(fc1_, flatten(image)))); }

}  // namespace tapescope
