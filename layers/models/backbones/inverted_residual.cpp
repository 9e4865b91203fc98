#include "layers/models/backbones/inverted_residual.h"

namespace tapescope::backbones {

InvertedResidual::InvertedResidual(Module& parent, std::string_view name,
                                   const InvertedResidualOptions& o)
    : Layer(parent, name),
      shortcut_(o.stride == 1 && o.in == o.out),
      drop_(o.drop),
      block_(*this, o.named_as_v2 ? "conv" : "block") {
  if (o.wide != o.in) {
    block_.append<ConvNorm>(
        o.in, o.wide, ConvNormOptions{.kernel = 1, .activation = o.activation, .norm = o.norm});
  }
  block_.append<ConvNorm>(o.wide, o.wide,
                          ConvNormOptions{.kernel = o.kernel,
                                          .stride = o.stride,
                                          .groups = o.wide,
                                          .activation = o.activation,
                                          .norm = o.norm});
  if (o.squeezed > 0) {
    block_.append<SqueezeExcitation>(o.wide, o.squeezed, o.squeeze_activation, o.squeeze_gate);
  }
  if (o.named_as_v2) {
    block_
        .append<Conv2d>(o.wide, o.out, 1,
                        ConvOptions{.bias = false, .initial = he_fan_out(o.out, 1)})
        .append<BatchNorm2d>(o.out, o.norm);
  } else {
    block_.append<ConvNorm>(o.wide, o.out, ConvNormOptions{.kernel = 1, .norm = o.norm});
  }
}

Var InvertedResidual::forward(Var x) const {
  const Var y = block_(x);
  if (!shortcut_) return y;
  // A frozen block is what it is in an evaluation, as its batch norms are.
  return add(trained_parameters().empty() ? y : stochastic_depth(y, drop_), x);
}

}  // namespace tapescope::backbones
