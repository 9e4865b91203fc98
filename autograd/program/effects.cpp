#include "autograd/program/effects.h"

#include <algorithm>

#include "autograd/program/joined_op.h"
#include "kernels/optimizer/many.h"

namespace tapescope {
namespace {

std::size_t at_index(int i) { return static_cast<std::size_t>(i); }

// By step: whether all of its results are assigned, and none is read.
std::vector<bool> effect_steps(const LoweredProgram& program) {
  std::vector<bool> assigned(program.values.size(), false), read(program.values.size(), false);
  for (const auto& assignment : program.assignments) assigned[at_index(assignment.value)] = true;
  for (const Step& step : program.steps) {
    for (int value : step.operands) read[at_index(value)] = true;
  }
  for (int value : program.outputs) read[at_index(value)] = true;
  if (program.guard >= 0) read[at_index(program.guard)] = true;
  std::vector<bool> effects;
  for (const Step& step : program.steps) {
    effects.push_back(std::all_of(step.outputs.begin(), step.outputs.end(), [&](int value) {
      return assigned[at_index(value)] && !read[at_index(value)];
    }));
  }
  return effects;
}

// operands: a guard {}, halted {} i64 -> halted'
class Halt final : public Op {
 public:
  std::string_view name() const override { return "halt"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override { return {t[1]}; }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return gpu_plan<HaltShape>("halt", {t[0].dtype}, t[0].dtype, backend);
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 0);
  }
  Footprint footprint() const override { return {}; }
  bool may_overwrite(int operand, int) const override { return operand == 1; }
};

}  // namespace

void put_copies_first(LoweredProgram& program, const Backend& backend) {
  if (backend.device.kind == DeviceKind::cpu) return;
  std::stable_partition(program.steps.begin(), program.steps.end(), [&](const Step& step) {
    return dynamic_cast<const JoinedOp*>(step.op.get()) != nullptr &&
           dynamic_cast<const UpdateOp*>(step.op.get()) == nullptr &&
           std::all_of(step.operands.begin(), step.operands.end(), [&](int value) {
             return program.values[at_index(value)].kind == Value::Kind::parameter;
           });
  });
  program.number_steps();
}

void put_effects_last(LoweredProgram& program) {
  const std::vector<bool> effects = effect_steps(program);
  std::vector<Step> last;
  std::vector<Step> steps = std::exchange(program.steps, {});
  for (std::size_t s = 0; s < steps.size(); ++s) {
    (effects[s] ? last : program.steps).push_back(std::move(steps[s]));
  }
  for (Step& step : last) program.steps.push_back(std::move(step));
  program.number_steps();
}

void guard_on_device(LoweredProgram& program, const Backend& backend) {
  if (program.guard < 0 || backend.device.kind == DeviceKind::cpu) return;
  const Value& guard = program.values[at_index(program.guard)];
  if (guard.kind != Value::Kind::computed ||
      (guard.type.dtype != DType::f32 && guard.type.dtype != DType::bf16)) {
    return;
  }
  const std::vector<bool> effects = effect_steps(program);
  for (const auto& assignment : program.assignments) {
    const Value& value = program.values[at_index(assignment.value)];
    if (value.kind != Value::Kind::computed || !effects[at_index(value.source)]) return;
    const Step& step = program.steps[at_index(value.source)];
    if (dynamic_cast<const UpdateOp*>(step.op.get()) == nullptr) return;
  }
  const auto first = std::find(effects.begin(), effects.end(), true) - effects.begin();
  if (first == static_cast<std::ptrdiff_t>(effects.size())) return;

  const Type type{DType::i64, {}};
  const auto add_value = [&](Value::Kind kind, int source) {
    program.values.push_back({kind, source, type});
    return static_cast<int>(program.values.size()) - 1;
  };
  program.halted = static_cast<int>(program.parameters.size());
  program.parameters.push_back(std::make_shared<Parameter>(
      "halted", Tensor::zeros(type, backend.device, Purpose::parameter), Parameter::Kind::state));
  const int halted = add_value(Value::Kind::parameter, program.halted);
  const int next = add_value(Value::Kind::computed, 0);
  for (std::size_t s = static_cast<std::size_t>(first); s < program.steps.size(); ++s) {
    if (!effects[s]) continue;  // a value that nothing needs
    Step& step = program.steps[s];
    step.op = static_cast<const UpdateOp&>(*step.op).that_halts();
    step.operands.push_back(next);
  }
  const Step& of = program.steps[at_index(program.values[at_index(program.guard)].source)];
  const Step halt{std::make_shared<Halt>(), of.path, of.owner, of.node,
                  {program.guard, halted},  {next}};
  program.steps.insert(program.steps.begin() + first, halt);
  program.assignments.push_back({program.halted, next});
  program.guard = -1;
  program.number_steps();
}

}  // namespace tapescope
