#include "autograd/program/draft.h"

#include <algorithm>

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
    bytes[at(buffer.first)] += padded;
    bytes[at(buffer.last) + 1] -= padded;  // unsigned: the sums are right again
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
  std::vector<double> above(recorded_at.empty() ? 0 : at(recorded_at.back()) + 1, 0);
  for (std::size_t s = 0; s < bytes.size(); ++s) {
    double& here = above[at(recorded_at[s])];
    if (bytes[s] > target) here = std::max(here, static_cast<double>(bytes[s] - target));
  }
  return above;
}

void Draft::put_into(LoweredProgram& recorded, std::span<const Type> recorded_types) const {
  Recomputation& told = recorded.recomputed;
  double flops = 0;
  std::vector<Step> steps;
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const Step& named = recorded.steps[at(repeats[s] >= 0 ? repeats[s] : recorded_at[s])];
    Step step = program.steps[s];
    step.path = named.path;
    step.owner = named.owner;
    std::vector<Type> operands, outputs;
    for (int v : named.operands) operands.push_back(recorded_types[at(v)]);
    for (int v : named.outputs) outputs.push_back(recorded_types[at(v)]);
    const double cost = step.op->cost(operands, outputs).flops;
    if (repeats[s] < 0) {
      flops += cost;
    } else {
      told.flops += cost;
      if (step.op->alias() < 0) ++told.values;
      for (int v : step.outputs) {
        const bool read = lives.last[at(lives.root[at(v)])] > static_cast<int>(s);
        if (step.op->alias() < 0 && read) told.bytes += types[at(v)].bytes();
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
    for (int v : step.operands) operands.push_back(needs_.types[at(v)]);
    for (int v : step.outputs) outputs.push_back(needs_.types[at(v)]);
    costs_.push_back(step.op->cost(operands, outputs));
    if (dynamic_cast<const UpdateOp*>(step.op.get()) != nullptr) {
      first_effect_ = std::min(first_effect_, static_cast<int>(s));
    }
  }
  find_what_may_repeat();
}

void Drafts::find_what_may_repeat() {
  may_repeat_.assign(program_.values.size(), false);
  for (std::size_t v = 0; v < may_repeat_.size(); ++v) {
    const Value& value = program_.values[v];
    may_repeat_[v] = roots_[v] == static_cast<int>(v) && is_computed(static_cast<int>(v)) &&
                     !does_more(*program_.steps[at(value.source)].op) &&
                     !needs_.steps[at(value.source)].fixed;
  }
  const auto keep = [&](int value) { may_repeat_[at(root(value))] = false; };
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
  Maker(const Drafts& drafts, const std::vector<int>& cuts)
      : drafts_(drafts), recorded_(drafts.program_), cuts_(cuts) {
    draft_.program.values = recorded_.values;
    draft_.program.outputs = recorded_.outputs;
    draft_.program.assignments = recorded_.assignments;
    draft_.program.guard = recorded_.guard;
    draft_.types = drafts_.needs_.types;
    draft_.uses.resize(recorded_.values.size());
    again_.assign(recorded_.values.size(), -1);
  }
  Draft make() {
    for (std::size_t s = 0; s < recorded_.steps.size(); ++s) {
      const Step& step = recorded_.steps[s];
      const int now = static_cast<int>(s);
      Step placed{step.op, {}, {}, step.node, read(step, now), step.outputs};
      for (int value : step.outputs) {
        std::vector<int>& uses = draft_.uses[at(value)];
        if (drafts_.root(value) == value) uses.insert(uses.begin(), now);
      }
      place(std::move(placed), now, -1);
    }
    draft_.lives = find_lives(draft_.program, draft_.types, needs_, true);
    return std::move(draft_);
  }

 private:
  std::vector<int> read(const Step& step, int now) {
    std::vector<int> values = step.operands;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (reads(step, i)) values[i] = value(values[i], now);
    }
    return values;
  }
  bool is_over(int v, int now) const { return now > cuts_[at(drafts_.root(v))]; }

  // What is read before recorded step `now` in the place of recorded value v.
  int value(int v, int now) {
    if (!drafts_.is_computed(v)) return v;
    std::vector<int>& uses = draft_.uses[at(drafts_.root(v))];
    if (uses.empty() || uses.back() != now) uses.push_back(now);
    if (!is_over(v, now)) return v;
    if (again_[at(v)] >= 0) return again_[at(v)];
    const int maker = recorded_.values[at(v)].source;
    const Step& step = recorded_.steps[at(maker)];
    Step repeated{step.op, {}, {}, step.node, read(step, now), {}};
    for (int output : step.outputs) {
      const int made = static_cast<int>(draft_.program.values.size());
      draft_.program.values.push_back(recorded_.values[at(output)]);
      draft_.types.push_back(draft_.types[at(output)]);
      repeated.outputs.push_back(made);
      if (output == v || (is_over(output, now) && again_[at(output)] < 0))
        again_[at(output)] = made;
    }
    if (now >= drafts_.first_effect()) draft_.valid = false;
    place(std::move(repeated), now, maker);
    return again_[at(v)];
  }

  void place(Step step, int now, int repeats) {
    const int here = static_cast<int>(draft_.program.steps.size());
    for (int output : step.outputs) draft_.program.values[at(output)].source = here;
    draft_.program.steps.push_back(std::move(step));
    draft_.recorded_at.push_back(now);
    draft_.repeats.push_back(repeats);
    needs_.push_back(drafts_.needs_.steps[at(repeats >= 0 ? repeats : now)]);
  }

  const Drafts& drafts_;
  const LoweredProgram& recorded_;
  const std::vector<int>& cuts_;
  Draft draft_;
  std::vector<int> again_;  // by recorded value: what it is the second time
  std::vector<StepNeeds> needs_;
};

Draft Drafts::make(const std::vector<int>& cuts) const { return Maker(*this, cuts).make(); }

}  // namespace tapescope
