#include "autograd/program/lower.h"

#include <map>
#include <unordered_map>

#include "autograd/leaf.h"
#include "autograd/program/effects.h"
#include "autograd/program/passes.h"
#include "autograd/program/recompute.h"
#include "autograd/program/share_batch.h"
#include "autograd/reach.h"

namespace tapescope {
namespace {

class Lowering {
 public:
  Lowering(Tape& tape, const CompileOptions& options) : options_(options) {
    for (const Var& cut : options.cuts) {
      value_of_[{cut.node->index, cut.output}] =
          add({Value::Kind::input, static_cast<int>(result_.inputs.size()), cut.type()});
      result_.inputs.emplace_back(cut.path(), cut.type());
    }
    edited_ = reached_from(tape, options.cuts, Through::everything);
  }

  LoweredProgram lower(Tape& tape, std::span<const Var> outputs, const Effects& effects) {
    std::vector<Var> kept(outputs.begin(), outputs.end());
    for (const Effect& effect : effects) kept.push_back(effect.value);
    if (options_.guard) kept.push_back(options_.guard);
    for (const Node* node : needed_by(tape, kept)) emit(*node);
    for (const Var& output : outputs) result_.outputs.push_back(value(output));
    for (const Effect& effect : effects) {
      result_.assignments.push_back({parameter(effect.state), value(effect.value)});
    }
    if (options_.guard) result_.guard = value(options_.guard);
    return std::move(result_);
  }

 private:
  // What has to be computed for `kept`, in recorded order.
  std::vector<const Node*> needed_by(const Tape& tape, std::vector<Var> stack) const {
    std::vector<bool> needed(tape.nodes().size(), false);
    while (!stack.empty()) {
      const Var top = stack.back();
      stack.pop_back();
      if (is_source(top) || needed[top.node->index]) continue;
      needed[top.node->index] = true;
      for (const Var& operand : top.node->operands()) stack.push_back(operand);
    }
    std::vector<const Node*> nodes;
    for (const Node* node : tape.nodes()) {
      if (needed[node->index]) nodes.push_back(node);
    }
    return nodes;
  }

  bool reused(const Var& var) const {
    return options_.reuse_values && !edited_[var.node->index] && var.has_value();
  }
  bool is_source(const Var& var) const {  // has a value before any step runs
    return value_of_.contains({var.node->index, var.output}) || var.node->op->is_leaf() ||
           reused(var);
  }

  void emit(const Node& node) {
    Step step;
    step.op = node.op;
    step.path = node.path();
    const Node* recorded = &node;
    while (recorded->origin != nullptr) recorded = recorded->origin;
    step.owner = recorded->path();
    step.node = node.index;
    for (const Var& operand : node.operands()) step.operands.push_back(value(operand));
    for (int i = 0; i < node.output_count; ++i) {
      step.outputs.push_back(
          add({Value::Kind::computed, 0, node.types()[static_cast<std::size_t>(i)]}));
      value_of_.try_emplace({node.index, i}, step.outputs.back());  // a cut output stays the input
    }
    result_.append(std::move(step));
  }

  int value(const Var& var) {
    const auto key = std::pair(var.node->index, var.output);
    if (auto it = value_of_.find(key); it != value_of_.end()) return it->second;
    int result = 0;
    const Op* op = var.node->op.get();
    if (const auto* input = dynamic_cast<const InputOp*>(op); input != nullptr && !reused(var)) {
      result = add({Value::Kind::input, static_cast<int>(result_.inputs.size()), var.type()});
      result_.inputs.emplace_back(input->input, var.type());
    } else if (const auto* leaf = dynamic_cast<const ParameterOp*>(op)) {
      result = add({Value::Kind::parameter, parameter(leaf->parameter), var.type()});
    } else {
      result = add({Value::Kind::constant, static_cast<int>(result_.constants.size()), var.type()});
      const auto* constant = dynamic_cast<const ConstantOp*>(op);
      result_.constants.push_back(constant != nullptr ? constant->value : var.value());
    }
    value_of_[key] = result;
    return result;
  }

  int parameter(const ParameterRef& state) {
    const auto [it, fresh] =
        parameter_of_.try_emplace(state.get(), static_cast<int>(result_.parameters.size()));
    if (fresh) result_.parameters.push_back(state);
    return it->second;
  }

  int add(Value value) {
    result_.values.push_back(value);
    return static_cast<int>(result_.values.size()) - 1;
  }

  const CompileOptions& options_;
  LoweredProgram result_;
  std::vector<bool> edited_;
  std::map<std::pair<std::uint32_t, int>, int> value_of_;
  std::unordered_map<const Parameter*, int> parameter_of_;
};

}  // namespace

std::vector<int> record_steps(const LoweredProgram& program, const Step& of, Device device,
                              std::span<const int> operands, Recording record,
                              const RecordedSteps& into) {
  Tape scratch(device, Mode::evaluation);
  std::unordered_map<const Node*, std::vector<int>> values_of;
  std::vector<Var> inputs;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Type& type = program.values[static_cast<std::size_t>(operands[i])].type;
    inputs.push_back(scratch.input(fmt::format("{}", i), type.dtype, type.shape));
    values_of[inputs.back().node] = {operands[i]};
  }
  const auto value_of = [&](const Var& var) {
    return values_of.at(var.node)[static_cast<std::size_t>(var.output)];
  };
  const std::vector<Var> results = record(scratch, inputs);
  if (results.empty()) return {};
  Step made{nullptr, of.path, of.owner, of.node, {}, {}};
  for (const Node* node : scratch.nodes()) {
    if (values_of.contains(node)) continue;
    if (const auto* constant = dynamic_cast<const ConstantOp*>(node->op.get())) {
      values_of[node] = {into.constant(constant->value)};
      continue;
    }
    made.op = node->op;
    made.operands.clear();
    made.outputs.clear();
    for (const Var& operand : node->operands()) made.operands.push_back(value_of(operand));
    for (int i = 0; i < node->output_count; ++i) {
      made.outputs.push_back(into.output(node->out(i), results));
    }
    values_of[node] = made.outputs;
    into.place(made);
  }
  std::vector<int> values;
  for (const Var& result : results) values.push_back(value_of(result));
  return values;
}

std::int64_t recorded_rows(const LoweredProgram& program) {
  for (const auto& [name, type] : program.inputs) {
    if (type.shape.rank() > 0 && type.shape[0] > 0) return type.shape[0];
  }
  return 0;
}

std::vector<Type> types_at(const LoweredProgram& program, std::int64_t batch) {
  const std::int64_t recorded = recorded_rows(program);
  std::vector<Type> types;
  for (const auto& [name, type] : program.inputs) {
    types.push_back(type);
    if (batch > 0 && type.shape.rank() > 0 && type.shape[0] == recorded) {
      types.back().shape[0] = batch;
    }
  }
  return types;
}

void LoweredProgram::append(Step step) {
  steps.push_back(std::move(step));
  number_steps(steps.size() - 1);
}

void LoweredProgram::number_steps(std::size_t first) {
  for (std::size_t s = first; s < steps.size(); ++s) {
    for (int output : steps[s].outputs) {
      values[static_cast<std::size_t>(output)].source = static_cast<int>(s);
    }
  }
}

LoweredProgram lower(Tape& tape, std::span<const Var> outputs, const Effects& effects,
                     const CompileOptions& options) {
  for (const Var& output : outputs) {
    if (!output || output.node->tape != &tape) {
      throw usage_error("[compile] an output is missing or from another tape");
    }
  }
  LoweredProgram program = Lowering(tape, options).lower(tape, outputs, effects);
  run_passes(program, tape.backend(), options);
  share_batch(program, tape.backend(), options);
  put_copies_first(program, tape.backend());
  put_effects_last(program);
  guard_on_device(program, tape.backend());
  keep_within_limit(program, tape.backend(), options, !is_left_out("recompute", options));
  return program;
}

}  // namespace tapescope
