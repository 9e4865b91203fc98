// One parameter's optimiser step. Outputs may be written over what they replace.
#include "kernels/optimizer/optimizer.h"

#include "kernels/optimizer/many.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/joined_op.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class OptimizerOp : public UpdateOp {
 public:
  // parameter, gradient and `states` moments of one type; then scalars of the same dtype, then step
  Types check(std::span<const Type> t, std::size_t states) const {
    for (std::size_t i = 1; i < 2 + states; ++i) {
      if (t[i] != t[0]) {
        throw usage_error("[{}] parameter and operand {} must be of one type, not {} and {}",
                          name(), i, to_string(t[0]), to_string(t[i]));
      }
    }
    if (t[2 + states] != Type{t[0].dtype, {}}) {
      throw usage_error("[{}] the learning rate must be a scalar {}, not {}", name(),
                        to_string(Type{t[0].dtype, {}}), to_string(t[2 + states]));
    }
    return states == 1 ? Types{t[0], t[0]} : Types{t[0], t[0], t[0]};
  }
  void vjp(Vjp&) const override {}  // nobody differentiates through an update
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Footprint footprint() const override { return {}; }
  bool rows_independent() const override { return false; }

 protected:
  // The kernel of all, unless kernels were chosen by name.
  template <class ManyShape>
  static Plan joined(std::string_view family, const ManyShape& shape, const Backend& backend) {
    if (backend.choices.contains("sgd") || backend.choices.contains("adamw")) return {};
    return gpu_plan(family, shape, shape.tensors[0].dtype, backend);
  }
  bool halts_ = false;
};

class SgdUpdate final : public OptimizerOp {
 public:
  explicit SgdUpdate(const SgdOptions& options) : options_(options) {}
  std::string_view name() const override { return "sgd_update"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("momentum", options_.momentum);
    v.visit("weight_decay", options_.weight_decay);
    v.visit("nesterov", static_cast<std::int64_t>(options_.nesterov));
  }
  Types infer(std::span<const Type> t) const override { return check(t, 1); }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(sgd_variants(), shape(t[0]), t[0].dtype, backend);
  }
  SgdShape shape(const Type& w) const {
    return {w.dtype,           w.elements(),          options_.momentum,
            options_.nesterov, options_.weight_decay, halts_};
  }
  Plan prepare_joined(std::span<const Joined> steps, std::int64_t pitch,
                      const Backend& backend) const override {
    std::vector<SgdShape> tensors;
    for (const Joined& step : steps) {
      tensors.push_back(static_cast<const SgdUpdate&>(*step.op).shape(step.operands[0]));
      if (tensors.back().momentum != options_.momentum ||
          tensors.back().nesterov != options_.nesterov) {
        return {};
      }
    }
    return joined<SgdManyShape>("sgd_many", {tensors, pitch}, backend);
  }
  int common_operands_from() const override { return 3; }
  OpRef that_halts() const override {
    auto op = std::make_shared<SgdUpdate>(*this);
    op->halts_ = true;
    return op;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 3);
  }
  bool may_overwrite(int operand, int output) const override {
    return (operand == 0 && output == 0) || (operand == 2 && output == 1);
  }

 private:
  SgdOptions options_;
};

class AdamWUpdate final : public OptimizerOp {
 public:
  explicit AdamWUpdate(const AdamWOptions& options) : options_(options) {}
  std::string_view name() const override { return "adamw_update"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("beta1", options_.beta1);
    v.visit("beta2", options_.beta2);
    v.visit("epsilon", options_.epsilon);
    v.visit("weight_decay", options_.weight_decay);
  }
  Types infer(std::span<const Type> t) const override {
    const Types types = check(t, 2);
    if (t[5] != Type{DType::i64, {}}) {
      throw usage_error("[adamw_update] the step must be i64 {{}}, not {}", to_string(t[5]));
    }
    return types;
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(adamw_variants(), shape(t[0]), t[0].dtype, backend);
  }
  AdamwShape shape(const Type& w) const {
    return {w.dtype,          w.elements(),          options_.beta1, options_.beta2,
            options_.epsilon, options_.weight_decay, halts_};
  }
  Plan prepare_joined(std::span<const Joined> steps, std::int64_t pitch,
                      const Backend& backend) const override {
    std::vector<AdamwShape> tensors;
    for (const Joined& step : steps) {
      tensors.push_back(static_cast<const AdamWUpdate&>(*step.op).shape(step.operands[0]));
      if (tensors.back().beta1 != options_.beta1 || tensors.back().beta2 != options_.beta2 ||
          tensors.back().eps != options_.epsilon) {
        return {};
      }
    }
    return joined<AdamwManyShape>("adamw_many", {tensors, pitch}, backend);
  }
  int common_operands_from() const override { return 4; }
  OpRef that_halts() const override {
    auto op = std::make_shared<AdamWUpdate>(*this);
    op->halts_ = true;
    return op;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 5);
  }
  bool may_overwrite(int operand, int output) const override {
    return (operand == 0 && output == 0) || (operand == 2 && output == 1) ||
           (operand == 3 && output == 2);
  }

 private:
  AdamWOptions options_;
};

}  // namespace

SgdResult sgd_update(Var parameter, Var gradient, Var velocity, Var learning_rate,
                     const SgdOptions& options) {
  if (options.momentum == 0) {  // plain descent has no velocity to keep
    const Var decayed = options.weight_decay == 0
                            ? gradient
                            : add(gradient, affine(parameter, options.weight_decay));
    return {sub(parameter, mul(decayed, learning_rate)), velocity};
  }
  const Node& node =
      record(std::make_shared<SgdUpdate>(options), {parameter, gradient, velocity, learning_rate});
  return {node.out(0), node.out(1)};
}

AdamWResult adamw_update(Var parameter, Var gradient, Var first_moment, Var second_moment,
                         Var learning_rate, Var step, const AdamWOptions& options) {
  const Node& node =
      record(std::make_shared<AdamWUpdate>(options),
             {parameter, gradient, first_moment, second_moment, learning_rate, step});
  return {node.out(0), node.out(1), node.out(2)};
}

std::vector<Sample> sgd_update_samples() {
  std::vector<Sample> samples;
  const OperandSpec w = fixed_extent(normal({7, 5}));
  const OperandSpec rate = fixed_extent(operand({}, OperandSpec::Values::unit));
  for (const SgdOptions& options :
       {SgdOptions{0.5, 0.1, false}, SgdOptions{0.9, 0, false}, SgdOptions{0.9, 0.01, true}}) {
    samples.push_back({fmt::format("momentum {}", options.momentum),
                       std::make_shared<SgdUpdate>(options),
                       {w, w, w, rate}});
  }
  return samples;
}

std::vector<Sample> adamw_update_samples() {
  const OperandSpec w = fixed_extent(normal({7, 5}));
  const OperandSpec squared = fixed_extent(operand({7, 5}, OperandSpec::Values::positive));
  const OperandSpec rate = fixed_extent(operand({}, OperandSpec::Values::unit));
  OperandSpec step = fixed_extent(index({}, 100));
  step.first = 1;
  return {
      {"weights", std::make_shared<AdamWUpdate>(AdamWOptions{}), {w, w, w, squared, rate, step}}};
}

}  // namespace tapescope
