#include "autograd/program/program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "autograd/program/packed_weights.h"
#include "autograd/program/program_memory.h"
#include "autograd/program/specialise.h"
#include "autograd/program/under_way.h"
#include "engine/environment.h"
#include "engine/remedy.h"
#include "engine/runtime.h"
#include "kernels/collectives/communicator.h"

namespace tapescope {
namespace {

bool is_finite(const Tensor& tensor) {  // on the CPU
  if (!is_floating(tensor.dtype())) return true;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    if (!std::isfinite(tensor.item(i))) return false;
  }
  return true;
}

// TAPESCOPE_RECORD_RUNS=0: a fault on a device is then told by the kernel that it is in.
bool recording_is_wanted() {
  return number_from_environment("TAPESCOPE_RECORD_RUNS", 0, 1).value_or(1) == 1;
}

}  // namespace

struct Program::State {
  LoweredProgram program;
  Backend backend;
  Queue queue;
  std::map<std::string, Specialised> specialised;  // by signature of input types
  std::string last_signature;
  Specialised* last = nullptr;
  ProgramMemory memory;
  std::vector<Tensor> old_values;  // by assignment
  Device output_device;
  SpecialiseOptions options;
  Communicator* ranks = nullptr;
  bool record_runs = true;
  UnderWay under_way = {};  // of these two the recordings go first
  Recordings recordings = {};

  // Runs the steps; false where the guard or the observer ended it.
  bool execute(Specialised& s, std::span<Tensor> inputs, const Observer* observer);
  void run_step(std::size_t i, const Plan& plan, const Buffers& buffers) const;
  void end_sums(Specialised& s, std::size_t last_step) const;
  void apply_effects(Specialised& s, std::span<Tensor> inputs);
  // What is kept of the step's weights; made where it is not there yet.
  const void* packed_for(const ReadyStep& step, const void* weights, bool are_kept);
  void take_old_values(const Specialised& s);
  // With memory in which parameters may become their new values, unless there are no `effects`, and
  // memory for what is fixed if it is to `keep` it.
  Specialised& ready(std::span<const Type> types, bool effects, bool keep);
  Specialised& ready(std::span<const Type> types, bool effects = true) {
    return ready(types, effects, options.keep_fixed);
  }
  // For a run.
  Specialised& next(std::span<const Type> types, bool effects = true);
  std::vector<Tensor> bind(std::span<const NamedTensor> inputs, std::vector<Type>& types) const;
  void point(Specialised& s, std::span<Tensor> inputs);
  void* address(const Place& place, std::span<Tensor> inputs);
  void copy(void* to, const void* from, std::size_t bytes) const {
    DeviceRuntime::of(backend.device).copy(to, from, bytes, queue);
  }
  bool goes_alone(const Specialised& s) const;
  // Everything that a run reads and writes, and where its results go.
  std::vector<const void*> addresses(const Specialised& s, std::span<Tensor> inputs,
                                     Landing& landing);
  // Not 0 once the guard was not finite, on a device that makes the effects itself.
  Tensor& halted() const {
    return program.parameters[static_cast<std::size_t>(program.halted)]->value;
  }
  void go_on() const {
    DeviceRuntime::of(backend.device).fill_zero(halted().data(), halted().bytes(), queue);
  }
  // A copy of a value, on the CPU or wherever outputs go.
  Tensor value(const Specialised& s, int index, std::span<Tensor> inputs, Device device) {
    const auto v = static_cast<std::size_t>(index);
    if (ranks != nullptr) ranks->await(queue);
    Tensor result(s.types[v], device);
    copy(result.data(), address(s.places[v], inputs), result.bytes());
    return result;
  }
};

Program::Program(Tape& tape, std::span<const Var> outputs, const Effects& effects,
                 const CompileOptions& options)
    : state_(new State{lower(tape, outputs, effects, options),
                       tape.backend(),
                       DeviceRuntime::of(tape.device()).compute_queue(),
                       {},
                       {},
                       nullptr,
                       ProgramMemory(options.arena),
                       {},
                       options.keep_on_device ? tape.device() : Device::cpu(),
                       {options.join_steps, options.keep_fixed, options.keep_fixed, true},
                       options.ranks,
                       options.record_runs && recording_is_wanted()}) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

const std::vector<std::pair<std::string, Type>>& Program::inputs() const {
  return state_->program.inputs;
}
std::vector<Type> Program::input_types(std::int64_t batch) const {
  return types_at(state_->program, batch);
}

Specialised& Program::State::ready(std::span<const Type> types, bool effects, bool keep) {
  std::string signature(effects || program.assignments.empty() ? "" : "no effects ");
  if (keep != options.keep_fixed) signature += "keeps nothing ";
  for (const Type& type : types) {
    signature.push_back(static_cast<char>(type.dtype));
    for (std::int64_t extent : type.shape) {
      signature.append(reinterpret_cast<const char*>(&extent), sizeof extent);
    }
    signature.push_back('|');
  }
  if (last != nullptr && signature == last_signature) return *last;
  auto it = specialised.find(signature);
  if (it == specialised.end()) {
    SpecialiseOptions how = options;
    how.effects = effects;
    how.keep_fixed = keep;
    it = specialised.emplace(signature, specialise(program, types, backend, how)).first;
  }
  last_signature = std::move(signature);
  last = &it->second;
  return *last;
}

// A first run may be the only one.
Specialised& Program::State::next(std::span<const Type> types, bool effects) {
  if (!options.keep_fixed) return ready(types, effects);
  Specialised& without = ready(types, effects, false);
  if (!without.has_run) {
    without.has_run = true;
    return without;
  }
  Specialised& with = ready(types, effects);
  return memory.may_keep(with.memory) ? with : without;
}

// The tensors this program reads, in its order.
std::vector<Tensor> Program::State::bind(std::span<const NamedTensor> inputs,
                                         std::vector<Type>& types) const {
  std::vector<Tensor> bound;
  for (const auto& [name, recorded] : program.inputs) {
    const NamedTensor* found = nullptr;
    for (const NamedTensor& given : inputs)
      if (given.name == name) found = &given;
    if (found == nullptr) {
      throw usage_error("[run] input '{}' of type {} is missing", name, to_string(recorded));
    }
    const Type& type = found->value.type();
    const bool batch_may_differ = recorded.shape.rank() > 0 &&
                                  type.shape.rank() == recorded.shape.rank() &&
                                  type.shape.without_leading() == recorded.shape.without_leading();
    if (type.dtype != recorded.dtype || !(batch_may_differ || type.shape == recorded.shape)) {
      throw usage_error("[run] input '{}' was recorded as {} (any first extent) but is {}", name,
                        to_string(recorded), to_string(type));
    }
    bound.push_back(found->value.to(backend.device));
    types.push_back(type);
  }
  return bound;
}

void* Program::State::address(const Place& place, std::span<Tensor> inputs) {
  const auto i = static_cast<std::size_t>(place.index);
  switch (place.kind) {
    case Place::Kind::arena:
      return memory.arena() + place.offset;
    case Place::Kind::kept:
      return memory.kept() + place.offset;
    case Place::Kind::input:
      return inputs[i].data();
    case Place::Kind::parameter:
      check_device(*program.parameters[i], backend.device);
      return program.parameters[i]->value.data();
    case Place::Kind::constant:
      return program.constants[i].data();
  }
  return nullptr;
}

void Program::State::point(Specialised& s, std::span<Tensor> inputs) {
  memory.make_room(s.memory, backend.device);
  const auto set = [&](std::size_t slot) {
    const int value = s.pointer_values[slot];
    if (value >= 0) s.pointers[slot] = address(s.places[static_cast<std::size_t>(value)], inputs);
  };
  if (s.arena != memory.arena() || s.kept != memory.kept()) {
    for (std::size_t slot = 0; slot < s.pointers.size(); ++slot) set(slot);
    s.arena = memory.arena();
    s.kept = memory.kept();
  } else {
    for (int slot : s.external_slots) set(static_cast<std::size_t>(slot));
  }
}

std::vector<Tensor> Program::run(std::span<const NamedTensor> inputs) {
  return run(inputs, nullptr, true);
}
std::vector<Tensor> Program::run(std::span<const NamedTensor> inputs, Observer observer,
                                 bool effects) {
  return run(inputs, &observer, effects);
}

std::vector<Tensor> Program::run(std::span<const NamedTensor> inputs, const Observer* observer,
                                 bool effects) {
  State& state = *state_;
  std::vector<Type> types;
  std::vector<Tensor> bound = state.bind(inputs, types);
  Specialised& s = state.next(types, effects);
  state.point(s, bound);
  if (!state.execute(s, bound, observer)) return {};
  std::vector<Tensor> outputs;
  for (int value : state.program.outputs) {
    outputs.push_back(state.value(s, value, bound, state.output_device));
  }
  if (!effects) return outputs;
  if (state.program.halted >= 0 && state.halted().host().item() != 0) {
    state.go_on();
    return {};
  }
  state.apply_effects(s, bound);
  return outputs;
}

// --- runs under way

// Whether the device can be left alone with a run: nothing of it is decided on the host.
bool Program::State::goes_alone(const Specialised& s) const {
  return backend.device.kind != DeviceKind::cpu && s.guard_step < 0 && ranks == nullptr &&
         !options.keep_fixed && output_device.kind == DeviceKind::cpu &&
         std::all_of(s.assigned_in_place.begin(), s.assigned_in_place.end(),
                     [](bool in_place) { return in_place; });
}

std::vector<const void*> Program::State::addresses(const Specialised& s, std::span<Tensor> inputs,
                                                   Landing& landing) {
  std::vector<const void*> all = {&s, s.arena, landing.halted()};
  for (int slot : s.external_slots) all.push_back(s.pointers[static_cast<std::size_t>(slot)]);
  for (int value : program.outputs)
    all.push_back(address(s.places[static_cast<std::size_t>(value)], inputs));
  return all;
}

void Program::start(std::span<const NamedTensor> inputs) {
  State& state = *state_;
  UnderWay& runs = state.under_way;
  if (runs.count() == 2) throw usage_error("[start] two runs are under way: finish() one first");
  std::vector<Type> types;
  std::vector<Tensor> bound = state.bind(inputs, types);
  Specialised& s = state.ready(types);
  if (!state.goes_alone(s)) {
    const bool halted = runs.came_to_nothing() && !state.program.outputs.empty();
    runs.put(halted ? std::vector<Tensor>() : run(inputs));
    return;
  }
  state.point(s, bound);
  std::vector<Type> outputs;
  for (int value : state.program.outputs) {
    outputs.push_back(s.types[static_cast<std::size_t>(value)]);
  }
  Landing& landing = runs.land(DeviceRuntime::of(state.backend.device), outputs);
  const auto work = [&] {
    state.execute(s, bound, nullptr);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Place& place = s.places[static_cast<std::size_t>(state.program.outputs[i])];
      state.copy(landing.at(i), state.address(place, bound), outputs[i].bytes());
    }
    if (state.program.halted >= 0) {
      state.copy(landing.halted(), state.halted().data(), sizeof(std::int64_t));
    }
  };
  if (state.record_runs) {
    state.recordings.run(DeviceRuntime::of(state.backend.device), state.queue,
                         state.addresses(s, bound, landing), work);
  } else {
    work();
  }
  landing.ended.record(state.queue);
  state.apply_effects(s, bound);
}

std::vector<Tensor> Program::finish() {
  State& state = *state_;
  if (state.under_way.count() == 0) throw usage_error("[finish] no run was started");
  bool halted = false;
  std::vector<Tensor> outputs = state.under_way.take(halted);
  if (!halted) return outputs;
  if (state.under_way.count() == 0) state.go_on();  // those behind it are to have no effects
  return {};
}

void Program::abandon() {
  while (state_->under_way.count() > 0) finish();
}

bool Program::State::execute(Specialised& s, std::span<Tensor> inputs, const Observer* observer) {
  const bool are_kept = memory.begin_run(s, program.parameters);
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    const ReadyStep& step = s.steps[i];
    const bool idle = !step.plan || (step.fixed && are_kept);  // an alias is its operand's memory
    const auto start = std::chrono::steady_clock::now();
    if (!idle) {
      const void* const* const in = s.pointers.data() + step.first_operand;
      const Buffers buffers{in, s.pointers.data() + step.first_output,
                            memory.arena() + step.workspace, packed_for(step, in[1], are_kept)};
      const bool joined = step.joined && observer == nullptr;
      run_step(i, joined ? step.joined : step.plan, buffers);
      if (ranks != nullptr) ranks->advance();
      if (joined) i += static_cast<std::size_t>(step.joined_steps) - 1;
    }
    if (observer != nullptr) {
      if (!idle && ranks != nullptr) ranks->await(queue);
      if (!idle) DeviceRuntime::of(backend.device).wait(queue);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      const auto output = [&](int k) {
        const Step& of = program.steps[i];
        return value(s, of.outputs[static_cast<std::size_t>(k)], inputs, Device::cpu());
      };
      if (!(*observer)({i, idle ? 0 : took.count(), output})) return end_sums(s, i), false;
    } else if (static_cast<int>(i) == s.guard_step) {
      if (!is_finite(value(s, program.guard, inputs, Device::cpu()))) return end_sums(s, i), false;
    }
  }
  if (s.memory.kept > 0) memory.end_run(s);
  return true;
}

// A run that ends early does so on all ranks alike, and leaves no sum under way.
void Program::State::end_sums(Specialised& s, std::size_t last_step) const {
  if (ranks == nullptr) return;
  for (std::size_t i = last_step + 1; i < s.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (step.op->name() != "all_reduce_end") continue;
    const int begun = program.values[static_cast<std::size_t>(step.operands[0])].source;
    if (begun > static_cast<int>(last_step)) return;
    void* const* const at = s.pointers.data();
    run_step(i, s.steps[i].plan,
             {at + s.steps[i].first_operand, at + s.steps[i].first_output, nullptr});
  }
}

void Program::State::apply_effects(Specialised& s, std::span<Tensor> inputs) {
  take_old_values(s);
  for (std::size_t a = 0; a < program.assignments.size(); ++a) {
    const auto& assignment = program.assignments[a];
    Parameter& parameter = *program.parameters[static_cast<std::size_t>(assignment.parameter)];
    if (!s.assigned_in_place[a]) {
      const Place& place = s.places[static_cast<std::size_t>(assignment.value)];
      const void* value = old_values[a].defined() ? old_values[a].data() : address(place, inputs);
      copy(parameter.value.data(), value, parameter.value.bytes());
    }
    parameter.changed();
  }
}

const void* Program::State::packed_for(const ReadyStep& step, const void* weights, bool are_kept) {
  if (step.packed >= 0) {
    return packed_weights(*program.parameters[static_cast<std::size_t>(step.packed)], step.plan,
                          queue);
  }
  if (step.packed_at == ReadyStep::kNowhere) return nullptr;
  void* const packed = memory.kept() + step.packed_at;
  if (!are_kept) step.plan.pack(queue, weights, packed);
  return packed;
}

// A failure in a kernel is told in the name of the node that it belongs to.
void Program::State::run_step(std::size_t i, const Plan& plan, const Buffers& buffers) const {
  const auto named = [&](const Error& error) {
    return Error(error.blame(), fmt::format("'{}': {}", program.steps[i].path, error.what()));
  };
  try {
    plan.run(queue, buffers);
  } catch (const RankEnded&) {
    throw;  // no fault of the node, and told by its type
  } catch (const ErrorWithRemedy& error) {
    throw ErrorWithRemedy(error.remedy, named(error));
  } catch (const Error& error) {
    throw named(error);
  }
}

// An assignment whose value is another parameter's old one (a swap) must read it before that
// parameter is assigned in its turn.
void Program::State::take_old_values(const Specialised& s) {
  old_values.assign(program.assignments.size(), {});
  for (std::size_t a = 0; a < program.assignments.size(); ++a) {
    const Place& place = s.places[static_cast<std::size_t>(program.assignments[a].value)];
    if (place.kind == Place::Kind::parameter && !s.assigned_in_place[a]) {
      old_values[a] = program.parameters[static_cast<std::size_t>(place.index)]->value.clone();
    }
  }
}

MemoryPlan Program::plan(std::int64_t batch) {
  return state_->ready(types_at(state_->program, batch)).memory;
}

const Recomputation& Program::recomputed() const { return state_->program.recomputed; }

std::vector<StepInfo> Program::steps(std::int64_t batch) {
  const Specialised& s = state_->ready(types_at(state_->program, batch));
  std::vector<StepInfo> infos;
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    const Step& step = state_->program.steps[i];
    StepInfo info{step.path, step.owner, step.node,           step.op.get(),   {},
                  {},        {},         s.steps[i].in_place, s.steps[i].fixed};
    for (int value : step.operands)
      info.operands.push_back(s.types[static_cast<std::size_t>(value)]);
    for (int value : step.outputs) info.outputs.push_back(s.types[static_cast<std::size_t>(value)]);
    info.variant = s.steps[i].plan ? s.steps[i].plan.variant() : "alias";
    if (s.steps[i].joined) {
      info.variant =
          fmt::format("{} for {} steps", s.steps[i].joined.variant(), s.steps[i].joined_steps);
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

void Program::choose(KernelChoices choices) {
  abandon();
  state_->backend.choices = std::move(choices);
  state_->recordings = {};
  state_->memory.forget();
  state_->last = nullptr;
  state_->specialised.clear();
}
const Backend& Program::backend() const { return state_->backend; }

Cost Program::cost(std::int64_t batch) {
  Cost sum;
  for (const StepInfo& step : steps(batch)) {
    if (step.kept) continue;
    const Cost cost = step.op->cost(step.operands, step.outputs);
    sum.flops += cost.flops;
    sum.macs += cost.macs;
    sum.bytes += cost.bytes;
  }
  return sum;
}

std::string Program::first_non_finite(std::span<const NamedTensor> inputs) {
  State& state = *state_;
  std::vector<Type> types;
  const std::vector<Tensor> bound = state.bind(inputs, types);
  for (std::size_t i = 0; i < bound.size(); ++i) {
    if (any_of_ranks(state.ranks, !is_finite(bound[i].host())))
      return state.program.inputs[i].first;
  }
  for (const ParameterRef& parameter : state.program.parameters) {
    if (!is_finite(parameter->value.host())) return parameter->name;
  }
  std::string found;
  const auto look = [&](const ObservedStep& observed) {
    const Step& step = state.program.steps[observed.index];
    bool finite = true;
    for (std::size_t k = 0; k < step.outputs.size() && finite; ++k) {
      finite = is_finite(observed.output(static_cast<int>(k)));
    }
    if (any_of_ranks(state.ranks, !finite)) found = step.path;
    return found.empty();
  };
  run(inputs, look, false);
  return found;
}

}  // namespace tapescope
