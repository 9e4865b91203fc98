#include "autograd/program/lives.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "autograd/program/buckets.h"

namespace tapescope {
namespace {

constexpr int kNone = Lives::kNone;

class Finder {
 public:
  Finder(const LoweredProgram& program, std::span<const Type> types,
         std::span<const StepNeeds> needs, bool effects)
      : program_(program), types_(types), needs_(needs), effects_(effects) {
    lives_.root = roots_of_aliases(program_, &lives_.offset);
    find_kept();
    find_uses();
    share_in_place();
    list_buffers();
  }
  Lives take() { return std::move(lives_); }

 private:
  // Fixed values that later runs read: not those of which only fixed steps are made, or what
  // kernels keep of them.
  void find_kept() {
    const auto is_fixed = [&](int v) {
      const Value& value = program_.values[as_index(v)];
      return value.kind == Value::Kind::computed && needs_[as_index(value.source)].fixed;
    };
    for (std::size_t s = 0; s < program_.steps.size(); ++s) {
      const std::vector<int>& in = program_.steps[s].operands;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const bool packed = i == 1 && needs_[s].packed;
        const bool is_read = reads(program_.steps[s], i) && !packed;
        if (is_fixed(in[i]) && !needs_[s].fixed && is_read) kept_.insert(in[i]);
      }
    }
    for (int v : program_.outputs) {
      if (is_fixed(v)) kept_.insert(v);
    }
  }

  void find_uses() {
    const int end = static_cast<int>(program_.steps.size());
    lives_.first.assign(program_.values.size(), kNone);
    lives_.last.assign(program_.values.size(), kNone);
    const auto lives = [&](int value, int step) {
      const auto root = as_index(lives_.root[as_index(value)]);
      if (lives_.first[root] == kNone) lives_.first[root] = step;
      lives_.last[root] = std::max(lives_.last[root], step);
    };
    for (int s = 0; s < end; ++s) {
      const Step& step = program_.steps[as_index(s)];
      for (std::size_t i = 0; i < step.operands.size(); ++i) {
        if (reads(step, i)) lives(step.operands[i], s);
      }
      for (int value : step.outputs) lives(value, s);
    }
    for (int v : kept_) lives(v, end);
    // Outputs are copied out and assignments made after the last step.
    for (int value : program_.outputs) lives(value, end);
    for (const auto& assignment : program_.assignments) lives(assignment.value, end);
  }

  // An output takes over an operand's memory where the op allows it and nothing reads the operand
  // later. A parameter's memory is taken only to become that parameter's new value.
  void share_in_place() {
    std::vector<int>&first = lives_.first, &last = lives_.last;
    lives_.in_place.assign(program_.steps.size(), false);
    lives_.assigned_in_place.assign(program_.assignments.size(), false);
    std::vector<int> over(program_.values.size());  // by root: the one whose memory it has
    std::iota(over.begin(), over.end(), 0);
    const auto root = [&](int value) {
      int found = lives_.root[as_index(value)];
      while (over[as_index(found)] != found) found = over[as_index(found)];
      return found;
    };
    std::vector<int> taken;
    for (int s = 0; s < static_cast<int>(program_.steps.size()); ++s) {
      const Step& step = program_.steps[as_index(s)];
      if (step.op->alias() >= 0) continue;
      taken.clear();
      for (std::size_t o = 0; o < step.outputs.size(); ++o) {
        const int output = step.outputs[o];
        if (root(output) != output) continue;  // it has its place in a bucket
        for (std::size_t i = 0; i < step.operands.size(); ++i) {
          const int operand = root(step.operands[i]);
          if (last[as_index(operand)] != s ||
              !step.op->may_overwrite(static_cast<int>(i), static_cast<int>(o))) {
            continue;
          }
          const auto uses = std::count_if(step.operands.begin(), step.operands.end(),
                                          [&](int v) { return root(v) == operand; });
          if (uses != 1 || types_[as_index(operand)].bytes() != types_[as_index(output)].bytes() ||
              types_[as_index(step.operands[i])].bytes() != types_[as_index(output)].bytes() ||
              std::find(taken.begin(), taken.end(), operand) != taken.end() ||
              !may_take(operand, output)) {
            continue;
          }
          over[as_index(output)] = operand;
          last[as_index(operand)] = last[as_index(output)];
          first[as_index(operand)] = std::min(first[as_index(operand)], first[as_index(output)]);
          taken.push_back(operand);
          lives_.in_place[as_index(s)] = true;
          break;
        }
      }
    }
    for (std::size_t v = 0; v < over.size(); ++v) lives_.root[v] = root(static_cast<int>(v));
  }

  bool may_take(int operand, int output) {
    const Value& value = program_.values[as_index(operand)];
    if (value.kind == Value::Kind::computed) return true;
    if (value.kind != Value::Kind::parameter || !effects_) return false;
    for (std::size_t a = 0; a < program_.assignments.size(); ++a) {
      const auto& assignment = program_.assignments[a];
      if (assignment.parameter == value.source && assignment.value == output) {
        lives_.assigned_in_place[a] = true;
        return true;
      }
    }
    return false;
  }

  int add(std::size_t bytes, int first, int last) {
    lives_.buffers.push_back({bytes, first, last});
    return static_cast<int>(lives_.buffers.size()) - 1;
  }
  void list_buffers() {
    lives_.kept.assign(program_.values.size(), false);
    for (int v : kept_) {
      const int root = lives_.root[as_index(v)];  // it may be a parameter: kept by its owner
      lives_.kept[as_index(root)] = program_.values[as_index(root)].kind == Value::Kind::computed;
    }
    lives_.buffer_of.assign(program_.values.size(), kNone);
    for (std::size_t v = 0; v < program_.values.size(); ++v) {
      if (lives_.root[v] != static_cast<int>(v) || lives_.kept[v] ||
          program_.values[v].kind != Value::Kind::computed) {
        continue;
      }
      lives_.buffer_of[v] = add(types_[v].bytes(), lives_.first[v], lives_.last[v]);
    }
    const int end = static_cast<int>(program_.steps.size());
    for (int s = 0; s < end; ++s) {
      const std::size_t bytes = needs_[as_index(s)].workspace;
      lives_.workspace_in.push_back(bytes > 0 ? add(bytes, s, s) : kNone);
    }
  }

  const LoweredProgram& program_;
  std::span<const Type> types_;
  std::span<const StepNeeds> needs_;
  bool effects_;
  std::set<int> kept_;
  Lives lives_;
};

}  // namespace

std::vector<int> roots_of_aliases(const LoweredProgram& program,
                                  std::vector<std::size_t>* offsets) {
  std::vector<int> root(program.values.size());
  std::vector<std::size_t> offset(program.values.size(), 0);
  for (std::size_t i = 0; i < root.size(); ++i) root[i] = static_cast<int>(i);
  const auto lies_in = [&](int value, int other, std::size_t bytes) {
    root[as_index(value)] = root[as_index(other)];
    offset[as_index(value)] = offset[as_index(other)] + bytes;
  };
  for (const Step& step : program.steps) {
    const auto* placed = dynamic_cast<const PlacedOp*>(step.op.get());
    if (placed != nullptr && placed->gathers()) {
      for (std::size_t k = 0; k < step.operands.size(); ++k) {
        lies_in(step.operands[k], step.outputs[0], placed->offsets()[k]);
      }
    } else if (const int aliased = step.op->alias(); aliased >= 0) {
      lies_in(step.outputs[0], step.operands[as_index(aliased)],
              placed != nullptr ? placed->offsets()[0] : 0);
    }
  }
  if (offsets != nullptr) *offsets = std::move(offset);
  return root;
}

bool reads(const Step& step, std::size_t operand) {
  return step.op->role(static_cast<int>(operand)) != Role::shape;
}

Lives find_lives(const LoweredProgram& program, std::span<const Type> types,
                 std::span<const StepNeeds> needs, bool effects) {
  return Finder(program, types, needs, effects).take();
}

}  // namespace tapescope
