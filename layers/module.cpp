#include "layers/module.h"

#include <algorithm>
#include <cmath>

namespace tapescope {

Module::Module(Module& parent, std::string_view name)
    : seed_(parent.seed_), room_(parent.room_), path_(parent.path_of(name)) {
  parent.members_.push_back({nullptr, this});
}

std::string Module::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

std::vector<ParameterRef> Module::parameters() const {
  std::vector<ParameterRef> all;
  for (const Member& member : members_) {
    const auto below = member.module ? member.module->parameters() : std::vector{member.parameter};
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

std::vector<ParameterRef> Module::trained_parameters() const {
  std::vector<ParameterRef> trained = parameters();
  std::erase_if(trained, [](const ParameterRef& parameter) { return !parameter->trained(); });
  return trained;
}

std::string_view Module::scope_name() const {
  const std::string_view path(path_);
  return path.substr(path.rfind('.') + 1);  // all of it where there is no dot
}

ParameterRef Module::add_parameter(std::string_view name, Parameter::Kind kind, Shape shape,
                                   const InitialValue& draw) {
  const Type type{DType::f32, shape};
  if (room_ != nullptr) {
    if ((*room_ -= type.elements()) < 0) throw usage_error("no room for {}", to_string(type));
    return add_parameter(name, kind, Tensor(type, Device::cpu(), Purpose::parameter));
  }
  PhiloxStream random(mix(seed_, stable_hash(path_of(name))));
  Tensor value(type, Device::cpu(), Purpose::parameter);
  for (float& element : value.values<float>()) element = static_cast<float>(draw(random));
  return add_parameter(name, kind, std::move(value));
}

ParameterRef Module::add_parameter(std::string_view name, Parameter::Kind kind, Tensor value) {
  members_.push_back({std::make_shared<Parameter>(path_of(name), std::move(value), kind), nullptr});
  return members_.back().parameter;
}

NamedVars Classifier::operator()(const NamedVars& inputs) const {
  const auto image = inputs.find("image");
  if (image == inputs.end()) throw usage_error("[{}] needs an input 'image'", config_.name);
  const Shape& shape = image->second.shape();
  if (shape.rank() != 4 || shape[3] != config_.channels) {
    throw usage_error("[{}] the image must be {{N, H, W, {}}}, not {}", config_.name,
                      config_.channels, to_string(shape));
  }
  return {{"logits", widened(logits(image->second))}};
}

std::int64_t Classifier::scaled(std::int64_t channels) const {
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(channels) * config_.width));
}

}  // namespace tapescope
