#include "autograd/program/rewrite.h"

#include <algorithm>

namespace tapescope {

Rewriter::Rewriter(LoweredProgram& program, const Backend& backend)
    : program_(program),
      backend_(backend),
      recorded_(static_cast<int>(program.steps.size())),
      readers_(program.values.size()),
      kept_(program.values.size(), false) {
  for (int s = 0; s < recorded_; ++s) read(s);
  for (int value : program_.outputs) kept_[at(value)] = true;
  for (const auto& assignment : program_.assignments) kept_[at(assignment.value)] = true;
  if (program_.guard >= 0) kept_[at(program_.guard)] = true;
}

int Rewriter::maker(int value) const {
  const Value& v = program_.values[at(value)];
  return v.kind == Value::Kind::computed ? v.source : -1;
}
bool Rewriter::is(int value, std::string_view op) const {
  const int s = maker(value);
  return s >= 0 && step(s).outputs[0] == value && step(s).op->name() == op;
}
bool Rewriter::is_fixed(int value) const {
  const Value& v = program_.values[at(value)];
  return v.kind == Value::Kind::computed ? v.source >= recorded_ : v.kind != Value::Kind::input;
}
const Tensor* Rewriter::constant(int value) const {
  const Value& v = program_.values[at(value)];
  return v.kind == Value::Kind::constant ? &program_.constants[at(v.source)] : nullptr;
}
int Rewriter::add_constant(Tensor value) {
  const int index = static_cast<int>(program_.constants.size());
  const Type type = value.type();
  program_.constants.push_back(std::move(value));
  return add({Value::Kind::constant, index, type});
}
bool Rewriter::read_only_by(int value, std::span<const int> steps) const {
  const std::vector<int>& all = readers(value);
  return !kept(value) && std::all_of(all.begin(), all.end(), [&](int s) {
    return std::find(steps.begin(), steps.end(), s) != steps.end();
  });
}

bool Rewriter::before(int s, int t) const {
  const bool ahead = s >= recorded_, other = t >= recorded_;
  return ahead != other ? ahead : s < t;
}
void Rewriter::read(int s) {
  for (int operand : step(s).operands) {
    std::vector<int>& all = readers_[at(operand)];
    const auto place =
        std::lower_bound(all.begin(), all.end(), s, [&](int a, int b) { return before(a, b); });
    if (place == all.end() || *place != s) all.insert(place, s);
  }
}
void Rewriter::unread(int s) {
  for (int operand : step(s).operands) std::erase(readers_[at(operand)], s);
}
int Rewriter::add(Value value) {
  program_.values.push_back(value);
  readers_.emplace_back();
  kept_.push_back(false);
  return static_cast<int>(program_.values.size()) - 1;
}

void Rewriter::replace(int s, OpRef op, std::vector<int> operands, int as) {
  std::vector<Type> types;
  for (int operand : operands) types.push_back(type(operand));
  const Types outputs = op->infer(types);
  unread(s);
  Step& changed = program_.steps[at(s)];
  changed.op = std::move(op);
  changed.path = step(as).path;
  changed.owner = step(as).owner;
  changed.node = step(as).node;
  changed.operands = std::move(operands);
  for (int i = static_cast<int>(changed.outputs.size()); i < outputs.size(); ++i) {
    const int output = add({Value::Kind::computed, s, outputs[i]});
    program_.steps[at(s)].outputs.push_back(output);
  }
  changed.outputs.resize(static_cast<std::size_t>(outputs.size()));
  read(s);
}

void Rewriter::substitute(int value, int by) {
  for (int s : std::vector<int>(readers(value))) {
    unread(s);
    std::vector<int>& operands = program_.steps[at(s)].operands;
    std::replace(operands.begin(), operands.end(), value, by);
    read(s);
  }
  if (!kept(value)) return;
  std::replace(program_.outputs.begin(), program_.outputs.end(), value, by);
  for (auto& assignment : program_.assignments) {
    if (assignment.value == value) assignment.value = by;
  }
  if (program_.guard == value) program_.guard = by;
  kept_[at(value)] = false;
  kept_[at(by)] = true;
}

std::vector<int> Rewriter::ahead(int of, std::span<const int> values,
                                 FunctionRef<std::vector<Var>(std::span<const Var>)> record) {
  const Step named = step(of);
  return record_steps(program_, named, backend_.device, values,
                      [&](Tape&, std::span<const Var> inputs) { return record(inputs); },
                      {[&](const Var& output, std::span<const Var>) {
                         return add({Value::Kind::computed, static_cast<int>(program_.steps.size()),
                                     output.type()});
                       },
                       [&](Tensor constant) { return add_constant(std::move(constant)); },
                       [&](Step made) {
                         program_.steps.push_back(std::move(made));
                         read(static_cast<int>(program_.steps.size()) - 1);
                       }});
}

namespace {

// A program with nothing in it but what `from` needs.
class Compaction {
 public:
  Compaction(LoweredProgram& from, int recorded)
      : from_(from),
        number_(from.values.size(), -1),
        needed_(from.steps.size(), false),
        recorded_(recorded) {
    for (int value : from_.outputs) need(value);
    for (const auto& assignment : from_.assignments) need(assignment.value);
    if (from_.guard >= 0) need(from_.guard);
  }
  LoweredProgram take() {
    for (int s = 0; s < recorded_; ++s) move(s);
    for (int output : from_.outputs) to_.outputs.push_back(value(output));
    for (const auto& assignment : from_.assignments) {
      const ParameterRef& state = from_.parameters[at(assignment.parameter)];
      to_.assignments.push_back({index_of(to_.parameters, state), value(assignment.value)});
    }
    if (from_.guard >= 0) to_.guard = value(from_.guard);
    return std::move(to_);
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  void need(int first) {
    std::vector<int> stack = {first};
    while (!stack.empty()) {
      const Value& value = from_.values[at(stack.back())];
      stack.pop_back();
      if (value.kind != Value::Kind::computed || needed_[at(value.source)]) continue;
      needed_[at(value.source)] = true;
      const std::vector<int>& operands = from_.steps[at(value.source)].operands;
      stack.insert(stack.end(), operands.begin(), operands.end());
    }
  }
  void move(int s) {
    if (!needed_[at(s)]) return;
    needed_[at(s)] = false;
    // What was put ahead of all is made where it is first read: it need not lie there before.
    for (int operand : from_.steps[at(s)].operands) {
      const Value& made = from_.values[at(operand)];
      if (made.kind == Value::Kind::computed && made.source >= recorded_) move(made.source);
    }
    Step step = std::move(from_.steps[at(s)]);
    for (int& operand : step.operands) operand = value(operand);
    for (int& output : step.outputs) {
      output = number_[at(output)] = add(from_.values[at(output)]);
    }
    to_.append(std::move(step));
  }
  int value(int v) {
    if (number_[at(v)] >= 0) return number_[at(v)];
    Value source = from_.values[at(v)];
    switch (source.kind) {
      case Value::Kind::input:
        to_.inputs.push_back(std::move(from_.inputs[at(source.source)]));
        source.source = static_cast<int>(to_.inputs.size()) - 1;
        break;
      case Value::Kind::parameter:
        source.source = index_of(to_.parameters, from_.parameters[at(source.source)]);
        break;
      case Value::Kind::constant:
        to_.constants.push_back(from_.constants[at(source.source)]);
        source.source = static_cast<int>(to_.constants.size()) - 1;
        break;
      case Value::Kind::computed:
        throw std::logic_error("a pass reads '" + std::to_string(v) + "' before it is known");
    }
    return number_[at(v)] = add(source);
  }
  int add(const Value& value) {
    to_.values.push_back(value);
    return static_cast<int>(to_.values.size()) - 1;
  }
  static int index_of(std::vector<ParameterRef>& parameters, const ParameterRef& parameter) {
    const auto found = std::find(parameters.begin(), parameters.end(), parameter);
    if (found == parameters.end()) {
      parameters.push_back(parameter);
      return static_cast<int>(parameters.size()) - 1;
    }
    return static_cast<int>(found - parameters.begin());
  }

  LoweredProgram& from_;
  LoweredProgram to_;
  std::vector<int> number_;  // of a value of from_ in to_
  std::vector<bool> needed_;
  int recorded_;
};

}  // namespace

void Rewriter::finish() { program_ = Compaction(program_, recorded_).take(); }

}  // namespace tapescope
