#include "layers/models/lenet.h"

namespace tapescope {

LeNet::LeNet(const ModelConfig& config) : Classifier(config) {
  const std::int64_t narrow = scaled(24), wide = scaled(48), hidden = scaled(256);
  const std::int64_t side = config.image_size / 2 / 2;  // after two poolings
  conv1_ = add_child<Conv2d>("conv1", config.channels, narrow, 5, ConvOptions{.padding = 2});
  conv2_ = add_child<Conv2d>("conv2", narrow, wide, 5, ConvOptions{.padding = 2});
  fc1_ = add_child<Linear>("fc1", wide * side * side, hidden);
  dropout_ = add_child<Dropout>("dropout", 0.5);
  fc2_ = add_child<Linear>("fc2", hidden, config.classes, LinearOptions{.relu_follows = false});
}

Var LeNet::logits(Var image) {
  Var x = max_pool2d(with_relu(*conv1_, image), {});
  x = max_pool2d(with_relu(*conv2_, x), {});
  return (*fc2_)((*dropout_)(with_relu(*fc1_, flatten(x))));
}

Mlp::Mlp(const ModelConfig& config) : Classifier(config) {
  const std::int64_t pixels = config.image_size * config.image_size * config.channels;
  const std::int64_t hidden1 = scaled(256), hidden2 = scaled(128);
  fc1_ = add_child<Linear>("fc1", pixels, hidden1);
  fc2_ = add_child<Linear>("fc2", hidden1, hidden2);
  fc3_ = add_child<Linear>("fc3", hidden2, config.classes, LinearOptions{.relu_follows = false});
}

Var Mlp::logits(Var image) { return (*fc3_)(with_relu(*fc2_, with_relu(*fc1_, flatten(image)))); }

}  // namespace tapescope
