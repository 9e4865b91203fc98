#include "layers/module.h"

#include <algorithm>
#include <cmath>

namespace tapescope {

std::vector<ParameterRef> Module::parameters() const {
  std::vector<ParameterRef> all;
  for (const Member& member : members_) {
    if (member.parameter) {
      all.push_back(member.parameter);
      continue;
    }
    for (ParameterRef& parameter : member.module->parameters()) {
      // A child that stands in two places counts once.
      if (std::find(all.begin(), all.end(), parameter) == all.end()) {
        all.push_back(std::move(parameter));
      }
    }
  }
  return all;
}

std::vector<ParameterRef> Module::trained_parameters() const {
  std::vector<ParameterRef> trained = parameters();
  std::erase_if(trained, [](const ParameterRef& parameter) { return !parameter->trained(); });
  return trained;
}

std::string_view Module::scope_name() const {
  const std::string_view path(build_.path);
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

ParameterRef Module::add_parameter(std::string_view name, Tensor value, Parameter::Kind kind) {
  members_.push_back(
      {std::make_shared<Parameter>(build_.child(name).path, std::move(value), kind), nullptr});
  return members_.back().parameter;
}

void Module::add_module(std::shared_ptr<Module> module) {
  members_.push_back({nullptr, std::move(module)});
}

NamedVars Classifier::operator()(Tape& tape, const NamedVars& inputs) {
  const auto image = inputs.find("image");
  if (image == inputs.end()) throw usage_error("[{}] needs an input 'image'", config_.name);
  if (image->second.node->tape != &tape) {
    throw usage_error("[{}] the input 'image' is on another tape", config_.name);
  }
  const Shape& shape = image->second.shape();
  if (shape.rank() != 4 || shape[3] != config_.channels) {
    throw usage_error("[{}] the image must be {{N, H, W, {}}}, not {}", config_.name,
                      config_.channels, to_string(shape));
  }
  return {{"logits", logits(image->second)}};
}

std::int64_t Classifier::scaled(std::int64_t channels) const {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(channels) * config_.width));
}

}  // namespace tapescope
