// Tapes of random ops, and their gradients: what passes and shares of a batch are tried on.
#pragma once

#include <cmath>
#include <map>

#include "autograd/more_ops/more_ops.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/philox.h"

namespace tapescope {

inline Tensor noise(const Type& type, std::uint64_t seed) {
  PhiloxStream random(seed);
  Tensor values({DType::f64, type.shape});
  for (double& v : values.values<double>()) v = random.normal();
  return values.to(type.dtype);
}

inline double largest_of(const std::vector<Tensor>& values) {
  double largest = 0;
  for (const Tensor& value : values) {
    for (std::int64_t i = 0; i < value.elements(); ++i) {
      largest = std::max(largest, std::abs(value.item(i)));
    }
  }
  return largest;
}

// A net of random ops on maps {3, 6, 6, 4} and less, its gradient, and what is asked of it. All
// follows from the seed.
class RandomTape {
 public:
  RandomTape(Tape& tape, std::uint64_t seed, DType dtype, bool eager)
      : tape_(tape), random_(seed), dtype_(dtype), eager_(eager) {
    const Var x = input("x", {3, 6, 6, 4});
    maps_ = {x, relu(x)};
    const int ops = 4 + below(9);
    for (int i = 0; i < ops; ++i) maps_.push_back(next());
    Var total = sum(square(maps_.back()));
    // Some maps end in the loss as well: they have several readers, in the gradient too.
    for (int i = below(3); i > 0; --i) total = add(total, sum(tapescope::tanh(pick())));
    asked_.push_back(total);
    if (below(4) > 0) {
      std::vector<Var> wrt = {x};
      for (const auto& [name, var] : inputs_) {
        if (below(2) == 0) wrt.push_back(var);
      }
      for (const Var& gradient : tape.gradient(total, wrt)) asked_.push_back(gradient);
    }
    // Values in between, also those that the walk appended.
    const auto nodes = tape.nodes();
    for (int i = below(4); i > 0; --i) {
      const Node* node = nodes[static_cast<std::size_t>(below(static_cast<int>(nodes.size())))];
      if (!node->op->is_leaf()) asked_.push_back(node->out(below(node->output_count)));
    }
  }
  const std::vector<Var>& asked() const { return asked_; }
  static Tensor value(std::string_view name, const Type& type) {
    if (name == "step") return Tensor::scalar_i64(3);
    return noise(type, stable_hash(name));
  }

 private:
  int below(int bound) {
    return static_cast<int>(random_.below(static_cast<std::uint32_t>(bound)));
  }
  Var pick() { return maps_[static_cast<std::size_t>(below(static_cast<int>(maps_.size())))]; }
  Var recent() {  // chains are what passes look for
    return below(3) == 0 ? pick() : maps_.back();
  }
  Var input(const std::string& name, Shape shape) {
    const Type type{dtype_, shape};
    if (const auto known = inputs_.find(name); known != inputs_.end()) return known->second;
    const Var var =
        eager_ ? tape_.input(name, value(name, type)) : tape_.input(name, dtype_, shape);
    if (name != "x") inputs_.emplace(name, var);
    return var;
  }
  // One of a few weights, often used twice: an input, a parameter or a constant.
  Var weight(Shape shape, bool positive = false) {
    const int which = below(6);
    const std::string name = fmt::format("w{}{}", which, to_string(shape));
    if (which < 2 && !positive) return input(name, shape);
    Tensor values = noise({dtype_, shape}, stable_hash(name));
    if (positive) {
      Tensor f64 = values.to(DType::f64);
      for (double& v : f64.values<double>()) v = 0.5 + std::abs(v);
      values = f64.to(dtype_);
    }
    const std::string key = name + (positive ? "+" : "");
    if (which < 4) return tape_.constant(values);
    if (!parameters_.contains(key)) {
      parameters_[key] = std::make_shared<Parameter>(key, values, Parameter::Kind::weight);
    }
    return tape_.parameter(parameters_[key]);
  }
  Var like_another(Var x) {  // of x's shape where there is one, else x
    for (int i = 0; i < 4; ++i) {
      const Var other = pick();
      if (other.shape() == x.shape()) return other;
    }
    return x;
  }
  Var conv(Var x) {
    const std::int64_t C = x.shape()[3], K = below(2) == 0 ? 1 : 3;
    return conv2d(x, weight({4, K, K, C}), below(2) == 0 ? weight({4}) : Var{},
                  {.pad_h = K / 2, .pad_w = K / 2});
  }
  Var normalised(Var x) {
    const std::int64_t C = x.shape()[3];
    if (below(2) == 0) {
      const BatchNormResult norm = batch_norm_training(x, weight({C}), weight({C}));
      if (below(2) == 0) asked_.push_back(affine(norm.mean, 0.1));
      return norm.y;
    }
    return batch_norm_inference(x, weight({C}), weight({C}), weight({C}), weight({C}, true));
  }
  Var activation(Var x) {
    switch (below(5)) {
      case 0:
        return clamp(x, 0, 1);
      case 1:
        return silu(x);
      default:
        return relu(x);
    }
  }
  Var next() {
    const Var x = recent();
    switch (below(12)) {
      case 0:
        return activation(x);
      case 1:
        return conv(x);
      case 2:
        return activation(normalised(conv(x)));
      case 3: {
        const Var branch = below(2) == 0 ? like_another(x) : x, y = normalised(conv(x));
        return relu(branch.shape() == y.shape() ? add(y, branch) : y);
      }
      case 4:
        return activation(conv(x));
      case 5: {
        const bool small = x.shape()[1] < 3;
        return max_pool2d(relu(x), small ? Pool2dOptions{1, 1, 1, 1} : Pool2dOptions{2, 2, 1, 1});
      }
      case 6:
        return dropout(relu(x), 0.3);
      case 7:
        return add(x, like_another(x));
      case 8:
        return mul(x, like_another(x));
      case 9:
        return affine(x, 0.5, 0.25);
      case 10: {  // the same ops twice, and made of constants alone
        const Var number = affine(tape_.scalar(0.5, dtype_), 2, 0.25);
        return add(tapescope::tanh(x), mul(tapescope::tanh(x), number));
      }
      default:
        return normalised(x);
    }
  }

  Tape& tape_;
  PhiloxStream random_;
  DType dtype_;
  bool eager_;
  std::vector<Var> maps_, asked_;
  std::map<std::string, Var> inputs_;
  std::map<std::string, ParameterRef> parameters_;
};

}  // namespace tapescope
