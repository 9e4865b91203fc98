#include "layers/layers.h"

#include "layers/initialise.h"

namespace tapescope {

using Kind = Parameter::Kind;

Conv2d::Conv2d(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
               std::int64_t kernel, const ConvOptions& options)
    : Layer(parent, name), options_{options.stride,  options.stride,   options.padding,
                                    options.padding, options.dilation, options.dilation,
                                    options.groups} {
  const std::int64_t per_group = in / options.groups;
  weight_ = add_parameter(
      "weight", Kind::weight, {out, kernel, kernel, per_group},
      options.initial ? options.initial : initialise::he_normal(kernel * kernel * per_group));
  if (options.bias) bias_ = add_parameter("bias", Kind::bias, {out}, initialise::constant(0));
}

Var Conv2d::forward(Var x) const {
  Tape& tape = x.tape();
  const Var weight = tape.parameter(weight_);
  return conv2d(x, weight, bias_ ? tape.parameter(bias_) : Var{}, options_);
}

Linear::Linear(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
               const LinearOptions& options)
    : Layer(parent, name) {
  using namespace initialise;
  const InitialValue usual = options.relu_follows ? he_normal(in) : uniform_fan_in(in);
  const InitialValue& draw = options.initial ? options.initial : usual;
  const bool zero = options.relu_follows || options.initial;
  weight_ = add_parameter("weight", Kind::weight, {out, in}, draw);
  if (options.bias) bias_ = add_parameter("bias", Kind::bias, {out}, zero ? constant(0) : usual);
}

Var Linear::forward(Var x) const {
  Tape& tape = x.tape();
  const Var weight = tape.parameter(weight_);
  return linear(x, weight, bias_ ? tape.parameter(bias_) : Var{});
}

BatchNorm2d::BatchNorm2d(Module& parent, std::string_view name, std::int64_t channels,
                         const BatchNormOptions& options)
    : Layer(parent, name), options_(options) {
  using initialise::constant;
  // Scale and shift get no weight decay, so both count as biases.
  weight_ = add_parameter("weight", Kind::bias, {channels}, constant(1));
  bias_ = add_parameter("bias", Kind::bias, {channels}, constant(0));
  running_mean_ = add_parameter("running_mean", Kind::buffer, {channels}, constant(0));
  running_var_ = add_parameter("running_var", Kind::buffer, {channels}, constant(1));
  num_batches_tracked_ = add_parameter("num_batches_tracked", Kind::buffer, Tensor::scalar_i64(0));
}

Var BatchNorm2d::forward(Var x) const {
  Tape& tape = x.tape();
  const Var scale = tape.parameter(weight_), shift = tape.parameter(bias_);
  // A frozen one keeps its statistics too: other ones would change what the frozen layers compute.
  if (tape.mode() == Mode::evaluation || (weight_->frozen && bias_->frozen)) {
    const Var mean = tape.parameter(running_mean_), variance = tape.parameter(running_var_);
    return batch_norm_inference(x, scale, shift, mean, variance, options_.epsilon);
  }
  const BatchNormResult result = batch_norm_training(x, scale, shift, options_.epsilon);
  const RunningStatistics running = running_statistics(
      {tape.pending(running_mean_), tape.pending(running_var_), tape.pending(num_batches_tracked_)},
      result.mean, result.variance, x, options_.momentum);
  tape.assign(running_mean_, running.mean);
  tape.assign(running_var_, running.variance);
  tape.assign(num_batches_tracked_, running.batches);
  return result.y;
}

Var with_relu(const Layer& layer, Var x) {
  const Tape::Scope in(x.tape(), layer.scope_name());
  return relu(layer.forward(x));
}

BasicBlock::BasicBlock(Module& parent, std::string_view name, std::int64_t in, std::int64_t out,
                       std::int64_t stride)
    : Layer(parent, name),
      conv1_(*this, "conv1", in, out, 3, {.stride = stride, .padding = 1, .bias = false}),
      bn1_(*this, "bn1", out),
      conv2_(*this, "conv2", out, out, 3, {.padding = 1, .bias = false}),
      bn2_(*this, "bn2", out),
      downsample_(*this, "downsample") {
  if (stride != 1 || in != out) {
    downsample_.append<Conv2d>(in, out, 1, ConvOptions{.stride = stride, .bias = false})
        .append<BatchNorm2d>(out);
  }
}

Var BasicBlock::forward(Var x) const {
  const Var shortcut = downsample_.empty() ? x : downsample_(x);
  const Var hidden = relu(bn1_(conv1_(x)));
  return relu(add(bn2_(conv2_(hidden)), shortcut));
}

}  // namespace tapescope
