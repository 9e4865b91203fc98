// The layers that models are made of. Images are {N, H, W, C}.
#pragma once

#include <functional>

#include "layers/module.h"

namespace tapescope {

struct ConvOptions {
  std::int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
  InitialValue initial = {};  // of the weights; none: He et al. 2015
};

// weight {O, K, K, I / groups}, bias {O} (zero).
class Conv2d final : public Layer {
 public:
  Conv2d(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
         std::int64_t kernel, const ConvOptions& options = {});
  Var forward(Var x) const override;

 private:
  Conv2dOptions options_;
  ParameterRef weight_, bias_;
};

struct LinearOptions {
  bool bias = true;
  bool relu_follows = true;
  InitialValue initial = {};  // of the weights, with zero biases, where not what is said below
};

// x {N, in} to {N, out}. weight {out, in}, bias {out}. Starts as He et al. with zero biases where a
// ReLU follows, and as PyTorch does, +-1/sqrt(in), where none does: class scores start small.
class Linear final : public Layer {
 public:
  Linear(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
         const LinearOptions& options = {});
  Var forward(Var x) const override;

 private:
  ParameterRef weight_, bias_;
};

struct BatchNormOptions {
  double epsilon = 1e-5, momentum = 0.1;
};

// PyTorch's BatchNorm2d: the biased variance normalises, the unbiased one enters running_var (of a
// single value, 0). On a training tape the running statistics are assigned (effects), one call
// after the other where the layer is called several times; on an evaluation tape they are used.
class BatchNorm2d final : public Layer {
 public:
  BatchNorm2d(Module& parent, std::string_view name, std::int64_t channels,
              const BatchNormOptions& options = {});
  Var forward(Var x) const override;

 private:
  BatchNormOptions options_;
  ParameterRef weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
};

// Identity on an evaluation tape.
class Dropout final : public Layer {
 public:
  Dropout(Module& parent, std::string_view name, double p) : Layer(parent, name), p_(p) {}
  Var forward(Var x) const override { return dropout(x, p_); }

 private:
  double p_;
};

// The layer and a ReLU in its scope: "conv1/conv2d", "conv1/relu".
Var with_relu(const Layer& layer, Var x);

// A function as a layer: relu, flatten, ...
class Function final : public Layer {
 public:
  Function(Module& parent, std::string_view name, std::function<Var(Var)> function)
      : Layer(parent, name), function_(std::move(function)) {}
  Var forward(Var x) const override { return function_(x); }

 private:
  std::function<Var(Var)> function_;
};

// Layers one after the other, called "0", "1", ...
class Sequential final : public Layer {
 public:
  using Layer::Layer;
  template <class L, class... Args>
  Sequential& append(Args&&... args) {
    layers_.push_back(
        std::make_unique<L>(*this, std::to_string(layers_.size()), std::forward<Args>(args)...));
    return *this;
  }
  bool empty() const { return layers_.empty(); }
  Var forward(Var x) const override {
    for (const auto& layer : layers_) x = (*layer)(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<Layer>> layers_;
};

// conv3x3 - bn - relu - conv3x3 - bn, plus the input (through conv1x1 - bn, called "downsample",
// where its size or channels change), - relu (He et al. 2016, arXiv 1512.03385).
class BasicBlock final : public Layer {
 public:
  BasicBlock(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
             std::int64_t stride);
  Var forward(Var x) const override;

 private:
  Conv2d conv1_;
  BatchNorm2d bn1_;
  Conv2d conv2_;
  BatchNorm2d bn2_;
  Sequential downsample_;  // empty where the input is added as it is
};

}  // namespace tapescope
