// The ops that begin a tape: inputs, parameters, constants. They have no operands and no kernel.
#pragma once

#include "autograd/op.h"
#include "autograd/parameter.h"

namespace tapescope {

class LeafOp : public Op {
 public:
  void attributes(AttributeVisitor& visitor) const override = 0;
  Types infer(std::span<const Type>) const override { return {}; }
  Plan prepare(std::span<const Type>, std::span<const Type>, const Backend&) const override {
    return {};
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type>, std::span<const Type>) const override { return {}; }
  Footprint footprint() const override { return {}; }
  bool is_leaf() const override { return true; }
};

class InputOp final : public LeafOp {
 public:
  explicit InputOp(std::string input) : input(std::move(input)) {}
  std::string_view name() const override { return "input"; }
  void attributes(AttributeVisitor& v) const override { v.visit("input", std::string_view(input)); }
  const std::string input;
};

class ParameterOp final : public LeafOp {
 public:
  explicit ParameterOp(ParameterRef parameter) : parameter(std::move(parameter)) {}
  std::string_view name() const override { return "parameter"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("parameter", std::string_view(parameter->name));
  }
  const ParameterRef parameter;
};

class ConstantOp final : public LeafOp {
 public:
  explicit ConstantOp(Tensor value) : value(std::move(value)) {}
  std::string_view name() const override { return "constant"; }
  void attributes(AttributeVisitor& v) const override { v.visit("shape", value.shape()); }
  const Tensor value;
};

}  // namespace tapescope
