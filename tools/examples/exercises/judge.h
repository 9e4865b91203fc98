// What the file of an exercise says of itself, and who judges it. `tools/exercise N` builds and
// runs one; with --solution the judge takes the tree's own rung, op, rule or pass in the file's
// place.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/explain/rule.h"
#include "autograd/ops/ops.h"
#include "autograd/program/passes.h"
#include "kernels/cases/cases.h"
#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"
#include "kernels/emulator/counters.h"

namespace tapescope::judge {

// Gives nothing where all is well, otherwise what is wrong and the sentence that helps.
struct Exercise {
  std::function<std::string(bool solution)> judge;
};

// A kernel, run on the emulator on every shape of a kernel family (kernels/cases): against the
// reference, with guards behind its results, in three orders of its threads, and, on the last
// shape, with its memory accesses counted.
struct KernelExercise {
  std::string_view family, rung;  // the tree's, which solves it
  std::vector<std::string_view> shapes;
  // Launches. `n`: the shape's numbers, as the family's form has them.
  void (*mine)(const Buffers& memory, std::span<const std::int64_t> n) = nullptr;
  const char* wrong = "";  // said of results that are not right
  const char* order = "";  // said where another order of threads gives another result
  // Null, or what is said of too many accesses: nothing where they are few enough.
  std::string (*limit)(const emulator::Counters&, const kernel_cases::Case&) = nullptr;
};
Exercise kernel(KernelExercise exercise);

inline const Queue kQueue{Device::emulated()};
inline const float* operand(const Buffers& memory, int i) {
  return static_cast<const float*>(memory.in[i]);
}
inline float* result(const Buffers& memory) { return static_cast<float*>(memory.out[0]); }

// An op of a few lines: a function of one element of each operand, all of one shape. A file adds
// its vector-Jacobian product.
class ElementOp : public Op {
 public:
  using Function = double (*)(const double* element);
  ElementOp(std::string_view name, Function f) : name_(name), f_(f) {}
  std::string_view name() const override { return name_; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> types) const override { return {types[0]}; }
  Plan prepare(std::span<const Type>, std::span<const Type>, const Backend&) const override;
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> y) const override {
    return memory_cost(t, y, 4);
  }
  Footprint footprint() const override { return {}; }

 private:
  std::string_view name_;
  Function f_;
};
// Its gradient, and the gradient's gradient, against differences: the harness of all ops.
Exercise op(OpRef mine, int operands, std::string_view solution, const char* wrong);

// A rule for relevance, on one linear layer whose shares are computed by hand: those of `z_plus`.
Exercise z_plus_rule(explain::Rule (*mine)(), const char* wrong);

// A pass that merges common steps, on lowered Programs whose steps are counted by hand.
Exercise merge_pass(void (*mine)(Rewriter&), const char* missed, const char* too_many);

}  // namespace tapescope::judge

// Each file defines it.
extern const tapescope::judge::Exercise kExercise;
