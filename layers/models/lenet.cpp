// A LeNet (LeCun et al. 1998) with today's parts, and a plain multilayer perceptron.
#include "layers/layers.h"

namespace tapescope {
namespace {

// conv5x5 - relu - pool - conv5x5 - relu - pool - fc - relu - dropout - fc.
class LeNet final : public Classifier {
 public:
  using Classifier::Classifier;
  Var logits(Var image) const override {
    Var x = max_pool2d(with_relu(conv1_, image), {});
    x = max_pool2d(with_relu(conv2_, x), {});
    return fc2_(dropout_(with_relu(fc1_, flatten(x))));
  }

 private:
  std::int64_t side_ = config().image_size / 2 / 2;  // after two poolings
  Conv2d conv1_{*this, "conv1", config().channels, scaled(24), 5, {.padding = 2}};
  Conv2d conv2_{*this, "conv2", scaled(24), scaled(48), 5, {.padding = 2}};
  Linear fc1_{*this, "fc1", scaled(48) * side_* side_, scaled(256)};
  Dropout dropout_{*this, "dropout", 0.5};
  Linear fc2_{*this, "fc2", scaled(256), config().classes, {.relu_follows = false}};
};

// flatten - fc - relu - fc - relu - fc.
class Mlp final : public Classifier {
 public:
  using Classifier::Classifier;
  Var logits(Var image) const override {
    return fc3_(with_relu(fc2_, with_relu(fc1_, flatten(image))));
  }

 private:
  std::int64_t pixels_ = config().image_size * config().image_size;
  Linear fc1_{*this, "fc1", pixels_* config().channels, scaled(256)};
  Linear fc2_{*this, "fc2", scaled(256), scaled(128)};
  Linear fc3_{*this, "fc3", scaled(128), config().classes, {.relu_follows = false}};
};

}  // namespace

std::unique_ptr<Classifier> make_lenet(const ModelConfig& c) { return std::make_unique<LeNet>(c); }
std::unique_ptr<Classifier> make_mlp(const ModelConfig& c) { return std::make_unique<Mlp>(c); }

}  // namespace tapescope
