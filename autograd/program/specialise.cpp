#include "autograd/program/specialise.h"

#include <algorithm>
#include <set>

#include "autograd/program/buckets.h"
#include "autograd/program/joined_op.h"
#include "autograd/program/memory_plan.h"

namespace tapescope {
namespace {

constexpr int kNone = -1;
constexpr std::size_t kApart = 256;  // where a kept value begins is a multiple of so many bytes
std::size_t at(int i) { return static_cast<std::size_t>(i); }

class Specialiser {
 public:
  Specialiser(const LoweredProgram& program, std::span<const Type> input_types,
              const Backend& backend, const SpecialiseOptions& options)
      : program_(program), effects_(options.effects) {
    infer(input_types);
    prepare(backend);
    fixed_.assign(program_.values.size(), false);
    if (program_.assignments.empty()) {
      if (options.keep_fixed) find_fixed();
      if (options.keep_packed || options.keep_fixed) find_packed();
    }
    find_roots();
    find_lives();
    share_in_place();
    place();
    list_pointers();
    if (options.join) join_steps(backend);
  }
  Specialised take() { return std::move(result_); }

 private:
  std::vector<Type> types_of(const std::vector<int>& values) const {
    std::vector<Type> types;
    for (int value : values) types.push_back(result_.types[at(value)]);
    return types;
  }

  void infer(std::span<const Type> input_types) {
    for (const Value& value : program_.values) {
      result_.types.push_back(value.kind == Value::Kind::input ? input_types[at(value.source)]
                                                               : value.type);
    }
    for (const Step& step : program_.steps) {
      const Types outputs = step.op->infer(types_of(step.operands));
      for (int i = 0; i < outputs.size(); ++i) result_.types[at(step.outputs[at(i)])] = outputs[i];
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
      ready.fixed = std::all_of(in.begin(), in.end(), [&](int v) { return fixed_[at(v)]; });
      if (ready.fixed) {
        for (int v : step.outputs) fixed_[at(v)] = true;
      }
    }
  }
  void find_packed() {
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const std::vector<int>& in = program_.steps[s].operands;
      ReadyStep& ready = result_.steps[s];
      if (ready.fixed || !ready.plan || ready.plan.packing().bytes == 0 || in.size() < 2) continue;
      const Value& weights = program_.values[at(in[1])];
      if (weights.kind == Value::Kind::parameter) {
        ready.packed = weights.source;
      } else if (fixed_[at(in[1])]) {
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

  // The root of a value is the value whose memory it lies in: itself, unless it is an alias or in a
  // bucket.
  void find_roots() {
    root_.resize(program_.values.size());
    offset_.assign(program_.values.size(), 0);
    for (std::size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<int>(i);
    const auto lies_in = [&](int value, int other, std::size_t offset) {
      root_[at(value)] = root_[at(other)];
      offset_[at(value)] = offset_[at(other)] + offset;
    };
    for (const Step& step : program_.steps) {
      const auto* placed = dynamic_cast<const PlacedOp*>(step.op.get());
      if (placed != nullptr && placed->gathers()) {
        for (std::size_t k = 0; k < step.operands.size(); ++k) {
          lies_in(step.operands[k], step.outputs[0], placed->offsets()[k]);
        }
      } else if (const int aliased = step.op->alias(); aliased >= 0) {
        lies_in(step.outputs[0], step.operands[at(aliased)],
                placed != nullptr ? placed->offsets()[0] : 0);
      }
    }
  }

  // Fixed values that later runs read: not those of which only fixed steps are made, or what
  // kernels keep of them.
  std::set<int> kept_values() const {
    std::set<int> kept;
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const ReadyStep& ready = result_.steps[s];
      const std::vector<int>& in = program_.steps[s].operands;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const bool packed = i == 1 && ready.packed_at != ReadyStep::kNowhere;
        if (fixed_[at(in[i])] && !ready.fixed && !packed) kept.insert(in[i]);
      }
    }
    for (int v : program_.outputs) {
      if (fixed_[at(v)]) kept.insert(v);
    }
    return kept;
  }

  void find_lives() {
    const int end = static_cast<int>(program_.steps.size());
    first_.assign(program_.values.size(), kNone);
    last_.assign(program_.values.size(), kNone);
    const auto lives = [&](int value, int step) {
      const auto root = at(root_[at(value)]);
      if (first_[root] == kNone) first_[root] = step;
      last_[root] = std::max(last_[root], step);
    };
    for (int s = 0; s < end; ++s) {
      for (int value : program_.steps[at(s)].operands) lives(value, s);
      for (int value : program_.steps[at(s)].outputs) lives(value, s);
    }
    if (const int guard = program_.guard; guard >= 0) {
      const Value& value = program_.values[at(guard)];
      if (value.kind == Value::Kind::computed) result_.guard_step = value.source;
    }
    for (int v : kept_values()) lives(v, end);
    // Outputs are copied out and assignments made after the last step.
    for (int value : program_.outputs) lives(value, end);
    for (const auto& assignment : program_.assignments) lives(assignment.value, end);
  }

  // An output takes over an operand's memory where the op allows it and nothing reads the operand
  // later. A parameter's memory is taken only to become that parameter's new value.
  void share_in_place() {
    result_.assigned_in_place.assign(program_.assignments.size(), false);
    for (int s = 0; s < static_cast<int>(program_.steps.size()); ++s) {
      const Step& step = program_.steps[at(s)];
      if (step.op->alias() >= 0) continue;
      std::vector<int> taken;
      for (std::size_t o = 0; o < step.outputs.size(); ++o) {
        const int output = step.outputs[o];
        if (root_[at(output)] != output) continue;  // it has its place in a bucket
        for (std::size_t i = 0; i < step.operands.size(); ++i) {
          const int operand = root_[at(step.operands[i])];
          const auto uses = std::count_if(step.operands.begin(), step.operands.end(),
                                          [&](int v) { return root_[at(v)] == operand; });
          if (!step.op->may_overwrite(static_cast<int>(i), static_cast<int>(o)) || uses != 1 ||
              result_.types[at(operand)].bytes() != result_.types[at(output)].bytes() ||
              result_.types[at(step.operands[i])].bytes() != result_.types[at(output)].bytes() ||
              last_[at(operand)] != s ||
              std::find(taken.begin(), taken.end(), operand) != taken.end() ||
              !may_take(operand, output)) {
            continue;
          }
          for (int& root : root_)
            if (root == output) root = operand;
          last_[at(operand)] = last_[at(output)];
          first_[at(operand)] = std::min(first_[at(operand)], first_[at(output)]);
          taken.push_back(operand);
          result_.steps[at(s)].in_place = true;
          break;
        }
      }
    }
  }

  bool may_take(int operand, int output) {
    const Value& value = program_.values[at(operand)];
    if (value.kind == Value::Kind::computed) return true;
    if (value.kind != Value::Kind::parameter || !effects_) return false;
    for (std::size_t a = 0; a < program_.assignments.size(); ++a) {
      const auto& assignment = program_.assignments[a];
      if (assignment.parameter == value.source && assignment.value == output) {
        result_.assigned_in_place[a] = true;
        return true;
      }
    }
    return false;
  }

  void place() {
    MemoryPlan& memory = result_.memory;
    const auto keep = [&](std::size_t bytes) {
      const std::size_t offset = memory.kept;
      memory.kept += (bytes + kApart - 1) / kApart * kApart;
      return offset;
    };
    std::set<int> kept;  // by root
    for (int v : kept_values()) kept.insert(root_[at(v)]);
    std::vector<BufferLife> buffers;
    std::vector<int> buffer_of(program_.values.size(), kNone);
    std::vector<std::size_t> kept_at(program_.values.size());
    for (std::size_t v = 0; v < program_.values.size(); ++v) {
      if (root_[v] != static_cast<int>(v) || program_.values[v].kind != Value::Kind::computed) {
        continue;
      }
      if (kept.contains(static_cast<int>(v))) {
        kept_at[v] = keep(result_.types[v].bytes());
        continue;
      }
      buffer_of[v] = static_cast<int>(buffers.size());
      buffers.push_back({result_.types[v].bytes(), first_[v], last_[v]});
    }
    for (ReadyStep& step : result_.steps) {
      if (step.packed_at != ReadyStep::kNowhere) step.packed_at = keep(step.plan.packing().bytes);
    }
    std::vector<int> workspaces;
    for (int s = 0; s < static_cast<int>(program_.steps.size()); ++s) {
      const std::size_t bytes = workspace_of(result_.steps[at(s)]);
      workspaces.push_back(bytes > 0 ? static_cast<int>(buffers.size()) : kNone);
      if (bytes > 0) buffers.push_back({bytes, s, s});
    }
    memory.arena = plan_memory(buffers);
    memory.lower_bound = memory_lower_bound(buffers);
    memory.packed = packed_bytes();
    for (const BufferLife& buffer : buffers) memory.unpacked += buffer.bytes;

    for (std::size_t v = 0; v < program_.values.size(); ++v) {
      const auto root = at(root_[v]);
      const Value& value = program_.values[root];
      Place place;
      switch (value.kind) {
        case Value::Kind::computed:
          if (buffer_of[root] == kNone) {
            place = {Place::Kind::kept, 0, kept_at[root] + offset_[v]};
          } else {
            place.offset = buffers[at(buffer_of[root])].offset + offset_[v];
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
      if (program_.values[v].kind == Value::Kind::input) memory.inputs += result_.types[v].bytes();
    }
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      if (workspaces[s] != kNone) {
        result_.steps[s].workspace = buffers[at(workspaces[s])].offset;
      }
    }
    for (const ParameterRef& parameter : program_.parameters) {
      memory.parameters += parameter->value.bytes();
    }
    for (int output : program_.outputs) memory.outputs += result_.types[at(output)].bytes();
  }

  void list_pointers() {
    const auto list = [&](const std::vector<int>& values) {
      const int first = static_cast<int>(result_.pointer_values.size());
      for (int value : values) {
        const Place::Kind kind = result_.places[at(value)].kind;
        if (kind != Place::Kind::arena && kind != Place::Kind::kept) {
          result_.external_slots.push_back(static_cast<int>(result_.pointer_values.size()));
        }
        result_.pointer_values.push_back(value);
      }
      result_.pointer_values.push_back(kNone);  // an absent optional operand reads as null
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
    const Step &a = program_.steps[at(first)], &b = program_.steps[at(s)];
    const auto* joined = dynamic_cast<const JoinedOp*>(a.op.get());
    if (joined == nullptr || b.op->name() != a.op->name() ||
        b.operands.size() != a.operands.size()) {
      return false;
    }
    if (result_.steps[at(s)].plan.workspace_bytes() > 0) return false;
    if (dynamic_cast<const UpdateOp*>(joined) != nullptr ? !writes_in_place(s)
                                                         : !stands_alone(first, s)) {
      return false;
    }
    for (std::size_t i = at(joined->common_operands_from()); i < b.operands.size(); ++i) {
      if (b.operands[i] != a.operands[i]) return false;  // another learning rate
    }
    for (int t = first; t < s; ++t) {
      if (reads_result_of(s, t) || reads_result_of(t, s)) return false;
    }
    return true;
  }
  bool writes_in_place(int s) const {
    const std::vector<int>& out = program_.steps[at(s)].outputs;
    return std::all_of(out.begin(), out.end(), [&](int value) {
      return result_.places[at(value)].kind == Place::Kind::parameter;
    });
  }
  // It reads nothing that steps make, and what the steps before it wrote there is still
  // wanted: from `first` to s no memory changes hands.
  bool stands_alone(int first, int s) const {
    for (int operand : program_.steps[at(s)].operands) {
      const Place::Kind kind = result_.places[at(operand)].kind;
      if (kind == Place::Kind::arena || kind == Place::Kind::kept) return false;
    }
    for (int t = first; t < s; ++t) {
      for (int output : program_.steps[at(t)].outputs) {
        if (last_[at(root_[at(output)])] < s) return false;
      }
    }
    return true;
  }
  bool reads_result_of(int s, int t) const {
    for (int operand : program_.steps[at(s)].operands) {
      for (int output : program_.steps[at(t)].outputs) {
        if (root_[at(operand)] == root_[at(output)]) return true;
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
        const Step& step = program_.steps[at(s)];
        steps.push_back({step.op.get(), types_of(step.operands)});
      }
      ReadyStep& ready = result_.steps[at(first)];
      const int pitch = result_.steps[at(first + 1)].first_operand - ready.first_operand;
      const auto& op = static_cast<const JoinedOp&>(*program_.steps[at(first)].op);
      ready.joined = op.prepare_joined(steps, pitch, backend);
      if (ready.joined) ready.joined_steps = end - first;
      first = end - 1;
    }
  }

  const LoweredProgram& program_;
  bool effects_;
  Specialised result_;
  std::vector<int> root_, first_, last_;  // by value; lives by root, in steps
  std::vector<std::size_t> offset_;       // by value: in its root's memory, bytes
  std::vector<bool> fixed_;               // by value
};

}  // namespace

Specialised specialise(const LoweredProgram& program, std::span<const Type> input_types,
                       const Backend& backend, const SpecialiseOptions& options) {
  return Specialiser(program, input_types, backend, options).take();
}

}  // namespace tapescope
