#include "layers/optimizers/optimizer.h"

namespace tapescope {

Optimizer::Optimizer(OptimizerConfig config) : config_(std::move(config)) {
  if (config_.name != "sgd" && config_.name != "adamw") {
    throw usage_error("unknown optimizer '{}'; known are sgd and adamw", config_.name);
  }
  if (!(config_.weight_decay >= 0)) {
    throw usage_error("the weight decay is {}; it must not be negative", config_.weight_decay);
  }
  if (!(config_.clip_gradient >= 0)) {
    throw usage_error(
        "the gradient norm cannot be clipped at {}; give a positive number or 0 for none",
        config_.clip_gradient);
  }
}

ParameterRef Optimizer::state(const Parameter& parameter, std::string_view name) {
  const std::string full = fmt::format("{}.{}", parameter.name, name);
  for (const ParameterRef& state : states_)
    if (state->name == full) return state;
  states_.push_back(std::make_shared<Parameter>(
      full, Tensor::zeros(parameter.value.type(), parameter.value.device(), Purpose::parameter),
      Parameter::Kind::state));
  return states_.back();
}

void Optimizer::forget() {
  for (const ParameterRef& state : states_) {
    state->value.copy_from(Tensor::zeros(state->value.type()));
    state->changed();
  }
}

double Optimizer::rate_factor(const Parameter& parameter) const {
  const auto factor = config_.rate_factors.find(parameter.name);
  return factor == config_.rate_factors.end() ? 1 : factor->second;
}

Effects Optimizer::update(std::span<const ParameterRef> parameters,
                          std::span<const Var> gradients) {
  if (parameters.size() != gradients.size() || parameters.empty()) {
    throw usage_error(
        "[{}] {} parameters but {} gradients; there must be one each, and at least one",
        config_.name, parameters.size(), gradients.size());
  }
  std::vector<ParameterRef> trained;
  std::vector<Var> used;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i]->trained()) continue;
    trained.push_back(parameters[i]);
    used.push_back(gradients[i]);
  }
  if (trained.empty()) {
    throw usage_error("[{}] all {} parameters are frozen or buffers: there is nothing to train",
                      config_.name, parameters.size());
  }
  Tape& tape = used.front().tape();
  const Tape::Scope in(tape, "optimizer");
  const Var learning_rate = tape.input("learning_rate", DType::f32, {});
  gradient_squares_ = square_sums(used);
  gradient_norm_ = sqrt(sum_in_order(gradient_squares_));
  if (config_.clip_gradient > 0) {
    // min(1, clip / norm), with PyTorch's 1e-6 beside the norm.
    const Var clip = tape.scalar(config_.clip_gradient), one = tape.scalar(1);
    const Var factor = minimum(div(clip, affine(gradient_norm_, 1, 1e-6)), one);
    for (Var& gradient : used) gradient = mul(gradient, factor);
  }
  std::map<double, Var> rates = {{1, learning_rate}};  // by factor
  Var count;                                           // AdamW counts steps from 1
  if (config_.name == "adamw") count = increment(tape.step());
  for (std::size_t i = 0; i < trained.size(); ++i) {
    const ParameterRef& parameter = trained[i];
    const double decay = parameter->kind == Parameter::Kind::weight ? config_.weight_decay : 0;
    const Var value = tape.pending(parameter);
    Var& rate = rates[rate_factor(*parameter)];
    if (!rate) rate = affine(learning_rate, rate_factor(*parameter));
    if (config_.name == "sgd") {
      SgdOptions options = config_.sgd;
      options.weight_decay = decay;
      const ParameterRef velocity = state(*parameter, "momentum");
      const SgdResult result = sgd_update(value, used[i], tape.pending(velocity), rate, options);
      tape.assign(parameter, result.parameter);
      tape.assign(velocity, result.velocity);
    } else {
      AdamWOptions options = config_.adamw;
      options.weight_decay = decay;
      const ParameterRef first = state(*parameter, "exp_avg");
      const ParameterRef second = state(*parameter, "exp_avg_sq");
      const Var mean = tape.pending(first), square = tape.pending(second);
      const AdamWResult result = adamw_update(value, used[i], mean, square, rate, count, options);
      tape.assign(parameter, result.parameter);
      tape.assign(first, result.first_moment);
      tape.assign(second, result.second_moment);
    }
  }
  return tape.effects();
}

}  // namespace tapescope
