#include "layers/layers.h"

#include "layers/initialise.h"

namespace tapescope {

Conv2d::Conv2d(const Build& build, std::int64_t in, std::int64_t out, std::int64_t kernel,
               const ConvOptions& options)
    : Layer(build), options_{options.stride,   options.stride,   options.padding, options.padding,
                             options.dilation, options.dilation, options.groups} {
  const std::int64_t per_group = in / options.groups;
  weight_ = add_parameter("weight",
                          initialise::he_normal(build, "weight", {out, kernel, kernel, per_group},
                                                kernel * kernel * per_group),
                          Parameter::Kind::weight);
  if (options.bias) {
    bias_ = add_parameter("bias", initialise::constant({out}, 0), Parameter::Kind::bias);
  }
}

Var Conv2d::forward(Var x) {
  Tape& tape = x.tape();
  const Var weight = tape.parameter(weight_);
  return conv2d(x, weight, bias_ ? tape.parameter(bias_) : Var{}, options_);
}

Linear::Linear(const Build& build, std::int64_t in, std::int64_t out, const LinearOptions& options)
    : Layer(build) {
  using namespace initialise;
  const bool he = options.relu_follows;
  weight_ = add_parameter("weight",
                          he ? he_normal(build, "weight", {out, in}, in)
                             : uniform_fan_in(build, "weight", {out, in}, in),
                          Parameter::Kind::weight);
  if (options.bias) {
    bias_ =
        add_parameter("bias", he ? constant({out}, 0) : uniform_fan_in(build, "bias", {out}, in),
                      Parameter::Kind::bias);
  }
}

Var Linear::forward(Var x) {
  Tape& tape = x.tape();
  const Var weight = tape.parameter(weight_);
  return linear(x, weight, bias_ ? tape.parameter(bias_) : Var{});
}

BatchNorm2d::BatchNorm2d(const Build& build, std::int64_t channels) : Layer(build) {
  using Kind = Parameter::Kind;
  // Scale and shift get no weight decay, so both count as biases.
  weight_ = add_parameter("weight", initialise::constant({channels}, 1), Kind::bias);
  bias_ = add_parameter("bias", initialise::constant({channels}, 0), Kind::bias);
  running_mean_ = add_parameter("running_mean", initialise::constant({channels}, 0), Kind::buffer);
  running_var_ = add_parameter("running_var", initialise::constant({channels}, 1), Kind::buffer);
  num_batches_tracked_ = add_parameter("num_batches_tracked", Tensor::scalar_i64(0), Kind::buffer);
}

Var BatchNorm2d::forward(Var x) {
  constexpr double kMomentum = 0.1;
  Tape& tape = x.tape();
  const Var scale = tape.parameter(weight_), shift = tape.parameter(bias_);
  if (tape.mode() == Mode::evaluation) {
    const Var mean = tape.parameter(running_mean_), variance = tape.parameter(running_var_);
    return batch_norm_inference(x, scale, shift, mean, variance);
  }
  const BatchNormResult result = batch_norm_training(x, scale, shift);
  // Of n values, the unbiased variance is n / (n - 1) times the biased one. n is the size of the
  // batch at hand, which a Program may change: it is counted on the tape.
  const Var one = tape.scalar(1);
  const Var rows = count_like(x, scale);
  const Var unbiased = div(rows, maximum(sub(rows, one), one));
  const auto blend = [&](const ParameterRef& running, Var batch) {
    const Var kept = affine(tape.pending(running), 1 - kMomentum);
    tape.assign(running, add(kept, affine(batch, kMomentum)));
  };
  blend(running_mean_, result.mean);
  blend(running_var_, mul(result.variance, unbiased));
  tape.assign(num_batches_tracked_, increment(tape.pending(num_batches_tracked_)));
  return result.y;
}

Var with_relu(Layer& layer, Var x) {
  const Tape::Scope in(x.tape(), layer.scope_name());
  return relu(layer.forward(x));
}

BasicBlock::BasicBlock(const Build& build, std::int64_t in, std::int64_t out, std::int64_t stride)
    : Layer(build) {
  conv1_ = add_child<Conv2d>("conv1", in, out, 3,
                             ConvOptions{.stride = stride, .padding = 1, .bias = false});
  bn1_ = add_child<BatchNorm2d>("bn1", out);
  conv2_ = add_child<Conv2d>("conv2", out, out, 3, ConvOptions{.padding = 1, .bias = false});
  bn2_ = add_child<BatchNorm2d>("bn2", out);
  if (stride != 1 || in != out) {
    downsample_ = add_child<Sequential>("downsample");
    downsample_->append<Conv2d>(in, out, 1, ConvOptions{.stride = stride, .bias = false})
        .append<BatchNorm2d>(out);
  }
}

Var BasicBlock::forward(Var x) {
  const Var shortcut = downsample_ ? (*downsample_)(x) : x;
  const Var hidden = relu((*bn1_)((*conv1_)(x)));
  return relu(add((*bn2_)((*conv2_)(hidden)), shortcut));
}

}  // namespace tapescope
