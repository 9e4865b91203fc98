#include "autograd/program/draft.h"

#include <algorithm>
#include <set>

#include "autograd/program/buckets.h"
#include "autograd/program/joined_op.h"

namespace tapescope {
namespace {

// What it makes is not all that it does, or not what it would make a second time.
bool does_more(const Op& op) {
  return dynamic_cast<const UpdateOp*>(&op) != nullptr ||
         dynamic_cast<const PlacedOp*>(&op) != nullptr || op.name() == "all_reduce" ||
         op.name() == "halt";
}

}  // namespace

std::vector<std::size_t> Draft::live() const {
  std::vector<std::size_t> bytes(program.steps.size() + 2, 0);
  for (const BufferLife& buffer : lives.buffers) {
    const std::size_t padded = aligned_bytes(buffer.bytes);
    bytes[as_index(buffer.first)] += padded;
    bytes[as_index(buffer.last) + 1] -= padded;  // unsigned: the sums are right again
  }
  for (std::size_t s = 1; s < bytes.size(); ++s) bytes[s] += bytes[s - 1];
  bytes.resize(program.steps.size());
  return bytes;
}

std::size_t Draft::largest() const {
  const std::vector<std::size_t> bytes = live();
  return bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
}

std::vector<double> Draft::excess(std::size_t target) const {
  const std::vector<std::size_t> bytes = live();
  std::vector<double> above(recorded_at.empty() ? 0 : as_index(recorded_at.back()) + 1, 0);
  for (std::size_t s = 0; s < bytes.size(); ++s) {
    double& here = above[as_index(recorded_at[s])];
    if (bytes[s] > target) here = std::max(here, static_cast<double>(bytes[s] - target));
  }
  return above;
}

void Draft::put_into(LoweredProgram& recorded, std::span<const Type> recorded_types) const {
  Recomputation& told = recorded.recomputed;
  double flops = 0;
  std::vector<Step> steps;
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const Step& named = recorded.steps[as_index(repeats[s] >= 0 ? repeats[s] : recorded_at[s])];
    Step step = program.steps[s];
    step.path = named.path;
    step.owner = named.owner;
    std::vector<Type> operands, outputs;
    for (int v : named.operands) operands.push_back(recorded_types[as_index(v)]);
    for (int v : named.outputs) outputs.push_back(recorded_types[as_index(v)]);
    const double cost = step.op->cost(operands, outputs).flops;
    if (repeats[s] < 0) {
      flops += cost;
    } else {
      told.flops += cost;
      if (step.op->alias() < 0) ++told.values;
      for (int v : step.outputs) {
        const bool read = lives.last[as_index(lives.root[as_index(v)])] > static_cast<int>(s);
        if (step.op->alias() < 0 && read) told.bytes += types[as_index(v)].bytes();
      }
    }
    steps.push_back(std::move(step));
  }
  if (flops > 0) told.flops /= flops;
  recorded.values = program.values;
  recorded.steps = std::move(steps);
}

Drafts::Drafts(const LoweredProgram& program, const Needs& needs)
    : program_(program),
      needs_(needs),
      roots_(roots_of_aliases(program)),
      first_effect_(static_cast<int>(program.steps.size())) {
  for (std::size_t s = 0; s < program_.steps.size(); ++s) {
    const Step& step = program_.steps[s];
    std::vector<Type> operands, outputs;
    for (int v : step.operands) operands.push_back(needs_.types[as_index(v)]);
    for (int v : step.outputs) outputs.push_back(needs_.types[as_index(v)]);
    costs_.push_back(step.op->cost(operands, outputs));
    if (dynamic_cast<const UpdateOp*>(step.op.get()) != nullptr) {
      first_effect_ = std::min(first_effect_, static_cast<int>(s));
    }
    std::vector<int>& read = read_by_.emplace_back();
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const int from = root(step.operands[i]);
      if (is_computed(from) && reads(step, i)) read.push_back(from);
    }
  }
  find_what_may_repeat();
}

std::size_t Drafts::bound() const {
  const std::size_t steps = program_.steps.size();
  std::vector<std::size_t> first(program_.values.size(), steps), last(first.size(), 0);
  const auto lives = [&](int value, std::size_t step) {
    first[as_index(root(value))] = std::min(first[as_index(root(value))], step);
    last[as_index(root(value))] = std::max(last[as_index(root(value))], step);
  };
  std::vector<std::size_t> bytes(steps + 1, 0);
  const auto size = [&](int root) {
    const bool beside =
        !is_computed(root) || needs_.steps[as_index(program_.values[as_index(root)].source)].fixed;
    return beside ? 0 : aligned_bytes(needs_.types[as_index(root)].bytes());
  };
  for (std::size_t s = 0; s < steps; ++s) {
    const Step& step = program_.steps[s];
    std::set<int> there(read_by_[s].begin(), read_by_[s].end());
    for (int root : read_by_[s]) lives(root, s);
    for (std::size_t o = 0; o < step.outputs.size(); ++o) {
      if (step.op->alias() >= 0) continue;  // it has no memory of its own
      lives(step.outputs[o], s);
      bool over = false;
      for (std::size_t i = 0; i < step.operands.size(); ++i) {
        over = over || step.op->may_overwrite(static_cast<int>(i), static_cast<int>(o));
      }
      if (!over) there.insert(root(step.outputs[o]));
    }
    bytes[s] = aligned_bytes(needs_.steps[s].workspace);
    for (int root : there) bytes[s] += size(root);
  }
  for (int value : program_.outputs) lives(value, steps);
  for (const auto& assignment : program_.assignments)
    first[as_index(root(assignment.value))] = steps;
  for (std::size_t v = 0; v < first.size(); ++v) {
    if (root(static_cast<int>(v)) != static_cast<int>(v) || may_repeat_[v]) continue;
    for (std::size_t s = first[v] + 1; s < last[v]; ++s) {
      const std::vector<int>& read = read_by_[s];  // counted above
      const bool is_read = std::find(read.begin(), read.end(), static_cast<int>(v)) != read.end();
      bytes[s] += is_read ? 0 : size(static_cast<int>(v));
    }
  }
  return *std::max_element(bytes.begin(), bytes.end());
}

void Drafts::find_what_may_repeat() {
  may_repeat_.assign(program_.values.size(), false);
  for (std::size_t v = 0; v < may_repeat_.size(); ++v) {
    const Value& value = program_.values[v];
    may_repeat_[v] = roots_[v] == static_cast<int>(v) && is_computed(static_cast<int>(v)) &&
                     !does_more(*program_.steps[as_index(value.source)].op) &&
                     !needs_.steps[as_index(value.source)].fixed;
  }
  const auto keep = [&](int value) { may_repeat_[as_index(root(value))] = false; };
  for (int value : program_.outputs) keep(value);
  for (const auto& assignment : program_.assignments) keep(assignment.value);
  if (program_.guard >= 0) keep(program_.guard);
  for (const Step& step : program_.steps) {  // parts of buckets
    if (dynamic_cast<const PlacedOp*>(step.op.get()) == nullptr) continue;
    for (int value : step.operands) keep(value);
    for (int value : step.outputs) keep(value);
  }
}

class Drafts::Maker {
 public:
  Maker(const Drafts& drafts, const std::vector<int>& cuts, Draft& draft)
      : drafts_(drafts), recorded_(drafts.program_), cuts_(cuts), draft_(draft) {
    draft_.program.values = recorded_.values;
    draft_.program.outputs = recorded_.outputs;
    draft_.program.assignments = recorded_.assignments;
    draft_.program.guard = recorded_.guard;
    draft_.types = drafts_.needs_.types;
    draft_.recorded_at.clear();
    draft_.repeats.clear();
    draft_.uses.resize(recorded_.values.size());
    for (std::vector<int>& uses : draft_.uses) uses.clear();
    draft_.valid = true;
    again_.assign(recorded_.values.size(), -1);
  }
  void make() {
    for (std::size_t s = 0; s < recorded_.steps.size(); ++s) {
      const int now = static_cast<int>(s);
      place(now, now, -1).outputs = recorded_.steps[s].outputs;
      for (int value : recorded_.steps[s].outputs) {
        std::vector<int>& uses = draft_.uses[as_index(value)];
        if (drafts_.root(value) == value) uses.insert(uses.begin(), now);
      }
    }
    draft_.program.steps.resize(draft_.repeats.size());
    draft_.program.number_steps();
    draft_.lives = find_lives(draft_.program, draft_.types, needs_, true);
  }

 private:
  bool is_over(int v, int now) const {
    return drafts_.is_computed(v) && now > cuts_[as_index(drafts_.root(v))];
  }

  // Sees to it that recorded value v can be read before recorded step `now`.
  void want(int v, int now) {
    if (!drafts_.is_computed(v)) return;
    std::vector<int>& uses = draft_.uses[as_index(drafts_.root(v))];
    if (uses.empty() || uses.back() != now) uses.push_back(now);
    if (!is_over(v, now) || again_[as_index(v)] >= 0) return;
    const int maker = recorded_.values[as_index(v)].source;
    std::vector<int>& made = place(maker, now, maker).outputs;
    made.clear();
    for (int output : recorded_.steps[as_index(maker)].outputs) {
      made.push_back(static_cast<int>(draft_.program.values.size()));
      draft_.program.values.push_back(recorded_.values[as_index(output)]);
      draft_.types.push_back(draft_.types[as_index(output)]);
      if (output == v || (is_over(output, now) && again_[as_index(output)] < 0))
        again_[as_index(output)] = made.back();
    }
    if (now >= drafts_.first_effect()) draft_.valid = false;
  }

  // The recorded step with what it reads, all but its outputs, in the memory of an earlier draft's.
  Step& place(int recorded, int now, int repeats) {
    const Step& step = recorded_.steps[as_index(recorded)];
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      if (reads(step, i)) want(step.operands[i], now);
    }
    const std::size_t here = draft_.repeats.size();
    if (here == draft_.program.steps.size()) draft_.program.steps.emplace_back();
    Step& placed = draft_.program.steps[here];
    placed.op = step.op;
    placed.node = step.node;
    placed.operands = step.operands;
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const int v = step.operands[i];
      if (reads(step, i) && is_over(v, now)) placed.operands[i] = again_[as_index(v)];
    }
    draft_.recorded_at.push_back(now);
    draft_.repeats.push_back(repeats);
    needs_.push_back(drafts_.needs_.steps[as_index(recorded)]);
    return placed;
  }

  const Drafts& drafts_;
  const LoweredProgram& recorded_;
  const std::vector<int>& cuts_;
  Draft& draft_;
  std::vector<int> again_;  // by recorded value: what it is the second time
  std::vector<StepNeeds> needs_;
};

void Drafts::make(const std::vector<int>& cuts, Draft& draft) const {
  Maker(*this, cuts, draft).make();
}

}  // namespace tapescope
