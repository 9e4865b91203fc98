#include "autograd/program/specialise.h"

#include <algorithm>
#include <map>
#include <set>

#include "autograd/program/joined_op.h"

namespace tapescope {
namespace {

class Specialiser {
 public:
  Specialiser(const LoweredProgram& program, std::span<const Type> input_types,
              const Backend& backend, const SpecialiseOptions& options)
      : program_(program) {
    infer(input_types);
    prepare(backend);
    fixed_.assign(program_.values.size(), false);
    if (program_.assignments.empty()) {
      if (options.keep_fixed) find_fixed();
      if (options.keep_packed || options.keep_fixed) find_packed();
    }
    for (const ReadyStep& step : result_.steps) {
      const bool packed = step.packed_at != ReadyStep::kNowhere;
      needs_.push_back({workspace_of(step), packed, step.fixed});
    }
    lives_ = find_lives(program_, result_.types, needs_, options.effects);
    place_kept();
    count_beside();
  }
  Needs needs() { return {std::move(result_.types), std::move(needs_), result_.memory}; }
  Specialised finish(const Backend& backend, bool join) {
    result_.assigned_in_place = lives_.assigned_in_place;
    for (std::size_t s = 0; s < result_.steps.size(); ++s) {
      result_.steps[s].in_place = lives_.in_place[s];
    }
    if (program_.guard >= 0) {
      const Value& guard = program_.values[as_index(program_.guard)];
      if (guard.kind == Value::Kind::computed) result_.guard_step = guard.source;
    }
    place();
    list_pointers();
    if (join) join_steps(backend);
    return std::move(result_);
  }

 private:
  std::vector<Type> types_of(const std::vector<int>& values) const {
    std::vector<Type> types;
    for (int value : values) types.push_back(result_.types[as_index(value)]);
    return types;
  }

  void infer(std::span<const Type> input_types) {
    for (const Value& value : program_.values) {
      result_.types.push_back(value.kind == Value::Kind::input ? input_types[as_index(value.source)]
                                                               : value.type);
    }
    for (const Step& step : program_.steps) {
      const Types outputs = step.op->infer(types_of(step.operands));
      for (int i = 0; i < outputs.size(); ++i)
        result_.types[as_index(step.outputs[as_index(i)])] = outputs[i];
    }
  }

  void prepare(const Backend& backend) {
    for (const Step& step : program_.steps) {
      ReadyStep ready;
      if (step.op->alias() < 0) {
        ready.plan = step.op->prepare(types_of(step.operands), types_of(step.outputs), backend);
      }
      result_.steps.push_back(std::move(ready));
    }
  }

  // What is the same in every run, in a Program that changes no parameter.
  void find_fixed() {
    for (std::size_t v = 0; v < fixed_.size(); ++v) {
      const Value::Kind kind = program_.values[v].kind;
      fixed_[v] = kind == Value::Kind::parameter || kind == Value::Kind::constant;
    }
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const Step& step = program_.steps[s];
      ReadyStep& ready = result_.steps[s];
      const std::vector<int>& in = step.operands;
      ready.fixed = std::all_of(in.begin(), in.end(), [&](int v) { return fixed_[as_index(v)]; });
      if (ready.fixed) {
        for (int v : step.outputs) fixed_[as_index(v)] = true;
      }
    }
  }
  void find_packed() {
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const std::vector<int>& in = program_.steps[s].operands;
      ReadyStep& ready = result_.steps[s];
      if (ready.fixed || !ready.plan || ready.plan.packing().bytes == 0 || in.size() < 2) continue;
      const Value& weights = program_.values[as_index(in[1])];
      if (weights.kind == Value::Kind::parameter) {
        ready.packed = weights.source;
      } else if (fixed_[as_index(in[1])]) {
        ready.packed_at = 0;  // until it has a place
      }
    }
  }
  // What a step needs in the arena.
  std::size_t workspace_of(const ReadyStep& step) const {
    const bool kept = step.packed >= 0 || step.packed_at != ReadyStep::kNowhere;
    return step.plan.workspace_bytes() - (kept ? step.plan.packing().bytes : 0);
  }
  // A parameter that several steps read in one layout is packed once.
  std::size_t packed_bytes() const {
    std::set<std::pair<int, std::string_view>> seen;
    std::size_t sum = 0;
    for (const ReadyStep& step : result_.steps) {
      if (step.packed < 0) continue;
      const Packing& packing = step.plan.packing();
      if (seen.emplace(step.packed, packing.layout).second) sum += packing.bytes;
    }
    return sum;
  }

  void count_beside() {
    MemoryPlan& memory = result_.memory;
    memory.packed = packed_bytes();
    for (std::size_t v = 0; v < program_.values.size(); ++v) {
      if (program_.values[v].kind == Value::Kind::input) memory.inputs += result_.types[v].bytes();
    }
    for (const ParameterRef& parameter : program_.parameters) {
      memory.parameters += parameter->value.bytes();
    }
    for (int output : program_.outputs) memory.outputs += result_.types[as_index(output)].bytes();
  }

  // What is kept from run to run lies beside the arena.
  void place_kept() {
    const auto keep = [&](std::size_t bytes) {
      const std::size_t offset = result_.memory.kept;
      result_.memory.kept += aligned_bytes(bytes);
      return offset;
    };
    kept_at_.resize(program_.values.size());
    for (std::size_t v = 0; v < kept_at_.size(); ++v) {
      if (lives_.kept[v]) kept_at_[v] = keep(result_.types[v].bytes());
    }
    // By value and layout: steps that are done twice have one packing.
    std::map<std::pair<int, std::string_view>, std::size_t> packed;
    for (std::size_t s = 0; s < result_.steps.size(); ++s) {
      ReadyStep& step = result_.steps[s];
      if (step.packed_at == ReadyStep::kNowhere) continue;
      const Packing& packing = step.plan.packing();
      const auto [it, is_new] = packed.try_emplace({program_.steps[s].operands[1], packing.layout});
      if (is_new) it->second = keep(packing.bytes);
      step.packed_at = it->second;
    }
  }

  void place() {
    std::vector<BufferLife>& buffers = lives_.buffers;
    MemoryPlan& memory = result_.memory;
    memory.arena = plan_memory(buffers);
    memory.lower_bound = memory_lower_bound(buffers);
    for (const BufferLife& buffer : buffers) memory.unpacked += buffer.bytes;

    for (std::size_t v = 0; v < program_.values.size(); ++v) {
      const auto root = as_index(lives_.root[v]);
      const Value& value = program_.values[root];
      Place place;
      switch (value.kind) {
        case Value::Kind::computed:
          if (lives_.kept[root]) {
            place = {Place::Kind::kept, 0, kept_at_[root] + lives_.offset[v]};
          } else {
            place.offset = buffers[as_index(lives_.buffer_of[root])].offset + lives_.offset[v];
          }
          break;
        case Value::Kind::input:
          place = {Place::Kind::input, value.source, 0};
          break;
        case Value::Kind::parameter:
          place = {Place::Kind::parameter, value.source, 0};
          break;
        case Value::Kind::constant:
          place = {Place::Kind::constant, value.source, 0};
          break;
      }
      result_.places.push_back(place);
    }
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const int workspace = lives_.workspace_in[s];
      if (workspace != Lives::kNone)
        result_.steps[s].workspace = buffers[as_index(workspace)].offset;
    }
  }

  void list_pointers() {
    const auto list = [&](const std::vector<int>& values) {
      const int first = static_cast<int>(result_.pointer_values.size());
      for (int value : values) {
        const Place::Kind kind = result_.places[as_index(value)].kind;
        if (kind != Place::Kind::arena && kind != Place::Kind::kept) {
          result_.external_slots.push_back(static_cast<int>(result_.pointer_values.size()));
        }
        result_.pointer_values.push_back(value);
      }
      result_.pointer_values.push_back(-1);  // an absent optional operand reads as null
      return first;
    };
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      result_.steps[s].first_operand = list(program_.steps[s].operands);
      result_.steps[s].first_output = list(program_.steps[s].outputs);
    }
    result_.pointers.assign(result_.pointer_values.size(), nullptr);
  }

  // Whether step s may run at the same time as the steps of one op before it, from `first` on: it
  // writes parameters in place, or memory that no one else has meanwhile, and nothing of theirs.
  bool joins(int first, int s) const {
    const Step &a = program_.steps[as_index(first)], &b = program_.steps[as_index(s)];
    const auto* joined = dynamic_cast<const JoinedOp*>(a.op.get());
    if (joined == nullptr || b.op->name() != a.op->name() ||
        b.operands.size() != a.operands.size()) {
      return false;
    }
    if (result_.steps[as_index(s)].plan.workspace_bytes() > 0) return false;
    if (dynamic_cast<const UpdateOp*>(joined) != nullptr ? !writes_in_place(s)
                                                         : !stands_alone(first, s)) {
      return false;
    }
    for (std::size_t i = as_index(joined->common_operands_from()); i < b.operands.size(); ++i) {
      if (b.operands[i] != a.operands[i]) return false;  // another learning rate
    }
    for (int t = first; t < s; ++t) {
      if (reads_result_of(s, t) || reads_result_of(t, s)) return false;
    }
    return true;
  }
  bool writes_in_place(int s) const {
    const std::vector<int>& out = program_.steps[as_index(s)].outputs;
    return std::all_of(out.begin(), out.end(), [&](int value) {
      return result_.places[as_index(value)].kind == Place::Kind::parameter;
    });
  }
  // It reads nothing that steps make, and what the steps before it wrote there is still
  // wanted: from `first` to s no memory changes hands.
  bool stands_alone(int first, int s) const {
    for (int operand : program_.steps[as_index(s)].operands) {
      const Place::Kind kind = result_.places[as_index(operand)].kind;
      if (kind == Place::Kind::arena || kind == Place::Kind::kept) return false;
    }
    for (int t = first; t < s; ++t) {
      for (int output : program_.steps[as_index(t)].outputs) {
        if (lives_.last[as_index(lives_.root[as_index(output)])] < s) return false;
      }
    }
    return true;
  }
  bool reads_result_of(int s, int t) const {
    for (int operand : program_.steps[as_index(s)].operands) {
      for (int output : program_.steps[as_index(t)].outputs) {
        if (lives_.root[as_index(operand)] == lives_.root[as_index(output)]) return true;
      }
    }
    return false;
  }

  // Runs of steps that are one kernel: the updates of all parameters, the bf16 copies of all
  // weights.
  void join_steps(const Backend& backend) {
    const int count = static_cast<int>(program_.steps.size());
    for (int first = 0; first < count; ++first) {
      if (!joins(first, first)) continue;
      int end = first + 1;
      while (end < count && joins(first, end)) ++end;
      if (end - first < 2) continue;
      std::vector<JoinedOp::Joined> steps;
      for (int s = first; s < end; ++s) {
        const Step& step = program_.steps[as_index(s)];
        steps.push_back({step.op.get(), types_of(step.operands)});
      }
      ReadyStep& ready = result_.steps[as_index(first)];
      const int pitch = result_.steps[as_index(first + 1)].first_operand - ready.first_operand;
      const auto& op = static_cast<const JoinedOp&>(*program_.steps[as_index(first)].op);
      ready.joined = op.prepare_joined(steps, pitch, backend);
      if (ready.joined) ready.joined_steps = end - first;
      first = end - 1;
    }
  }

  const LoweredProgram& program_;
  Specialised result_;
  std::vector<bool> fixed_;  // by value
  std::vector<StepNeeds> needs_;
  Lives lives_;
  std::vector<std::size_t> kept_at_;  // by root
};

}  // namespace

Specialised specialise(const LoweredProgram& program, std::span<const Type> input_types,
                       const Backend& backend, const SpecialiseOptions& options) {
  return Specialiser(program, input_types, backend, options).finish(backend, options.join);
}

Needs needs_of(const LoweredProgram& program, std::span<const Type> input_types,
               const Backend& backend, const SpecialiseOptions& options) {
  return Specialiser(program, input_types, backend, options).needs();
}

}  // namespace tapescope
