// Nets of random weights, for what has to hold on any net.
#pragma once

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/philox.h"

namespace tapescope {

class RandomNet {
 public:
  RandomNet(Tape& tape, std::uint64_t seed, DType dtype)
      : tape_(tape), random_(seed), dtype_(dtype) {}
  Var constant(Shape shape, double scale, double offset = 0) {
    Tensor values({DType::f32, shape});
    for (float& v : values.values<float>())
      v = static_cast<float>(offset + scale * random_.normal());
    return tape_.constant(values.to(dtype_));
  }
  Var image(std::int64_t rows) {
    Tensor values({DType::f32, {rows, 6, 6, 3}});
    for (float& v : values.values<float>()) v = static_cast<float>(random_.normal());
    return tape_.input("x", values.to(dtype_));
  }
  Var conv(Var x, std::int64_t out, bool bias = true) {
    const std::int64_t in = x.shape()[3];
    return conv2d(x, constant({out, 3, 3, in}, .3), bias ? constant({out}, .2) : Var{},
                  {.pad_h = 1, .pad_w = 1});
  }
  Var norm(Var x) {
    const std::int64_t c = x.shape()[3];
    return batch_norm_inference(x, constant({c}, .2, 1), constant({c}, .3), constant({c}, .3),
                                square(constant({c}, .2, 1)));
  }
  Var head(Var x, std::int64_t classes) {
    const Var flat = flatten(x);
    return linear(flat, constant({classes, flat.shape()[1]}, .3), constant({classes}, .3));
  }
  // Families of nets: what has to balance must balance on each.
  Var logits(Var x, int family) {
    switch (family) {
      case 0:  // a perceptron
        return head(relu(head(flatten(x), 9)), 4);
      case 1:  // convolution, both pools
        return head(avg_pool2d(relu(conv(max_pool2d(relu(conv(x, 4)), {}), 5)), {}), 4);
      case 2: {  // residual, batch norm folded; one that cannot be
        const Var stem = relu(norm(conv(x, 4, false)));
        const Var block = relu(add(norm(conv(relu(norm(conv(stem, 4, false))), 4)), stem));
        return head(global_avg_pool2d(relu(norm(block))), 4);
      }
      case 3: {  // two branches joined, a shift, tanh and sigmoid
        const Var a = tapescope::tanh(conv(x, 3)), b = sigmoid(affine(conv(x, 2), 1.5, .25));
        const Var both[] = {a, b};
        return head(upsample_nearest(concat(both, 3), 2), 4);
      }
      case 4: {  // a gate, padding that is not zero
        constexpr std::int64_t kBefore[] = {0, 1, 0, 0}, kAfter[] = {0, 0, 2, 0};
        const Var a = conv(pad(x, kBefore, kAfter, .5), 3);
        return head(mul(relu(a), sigmoid(a)), 4);
      }
      case 6: {  // depthwise, squeeze-and-excitation
        constexpr int kPositions[] = {1, 2};
        const Var a = hard_swish(conv(x, 4));
        const Var b =
            clamp(conv2d(a, constant({4, 3, 3, 1}, .6), constant({4}, .2),
                         {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1, .groups = 4}),
                  0, 6);
        const Var squeezed = relu(conv(reduce_mean(b, kPositions), 3));
        return head(global_avg_pool2d(gate(b, hard_sigmoid(conv(squeezed, 4)))), 4);
      }
      case 7: {  // normalised by position and by group
        const Var a = conv(x, 4);
        const Var b = gelu(layer_norm(a, constant({4}, .2, 1), constant({4}, .3)));
        const Var c = group_norm(conv(b, 4), 2, constant({4}, .2, 1), constant({4}, .3));
        return head(silu(add(c, a)), 4);
      }
      default: {  // one layer used twice
        const Var w = constant({3, 3, 3, 3}, .3), b = constant({3}, .2);
        const Conv2dOptions options{.pad_h = 1, .pad_w = 1};
        return head(relu(conv2d(relu(conv2d(x, w, b, options)), w, b, options)), 4);
      }
    }
  }
  static constexpr int kFamilies = 8;

 private:
  Tape& tape_;
  PhiloxStream random_;
  DType dtype_;
};

}  // namespace tapescope
