// A lowered Program being changed: what passes are written with.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "autograd/program/lower.h"
#include "engine/thread_pool.h"

namespace tapescope {

// Steps and values are known by their numbers, which stay until the changes are done: new ones get
// new numbers. What nothing reads any more is dead, and is left out at the end.
class Rewriter {
 public:
  Rewriter(LoweredProgram& program, const Backend& backend);

  // --- reading -----------------------------------------------------------------------------------
  const Backend& backend() const { return backend_; }
  int steps() const { return recorded_; }  // those that were recorded, in their order
  const Step& step(int s) const { return program_.steps[at(s)]; }
  const Type& type(int value) const { return program_.values[at(value)].type; }
  // The step that computes `value`, -1 for an input, a parameter or a constant.
  int maker(int value) const;
  // Whether it is output 0 of a step of the op with this name.
  bool is(int value, std::string_view op) const;
  // Whether it is a parameter, a constant, or was made of them by ahead().
  bool is_fixed(int value) const;
  // Null where it is no constant.
  const Tensor* constant(int value) const;
  // Steps that read it, in order, once each.
  const std::vector<int>& readers(int value) const { return readers_[at(value)]; }
  // Whether it is an output, an assignment's value or the guard.
  bool kept(int value) const { return kept_[at(value)]; }
  // Whether these steps alone read it, and it is not kept.
  bool read_only_by(int value, std::span<const int> steps) const;
  bool read_only_by(int value, std::initializer_list<int> steps) const {
    return read_only_by(value, std::span<const int>(steps.begin(), steps.size()));
  }

  // --- changing ----------------------------------------------------------------------------------
  // Step s computes `op` of `operands`, all known before s. Its outputs stay, as far as the new op
  // has as many; those that it has besides are new values. It goes by the name of step `as`.
  void replace(int s, OpRef op, std::vector<int> operands, int as);
  void replace(int s, OpRef op, std::vector<int> operands) {
    replace(s, std::move(op), std::move(operands), s);
  }
  // Whoever reads `value`, after `by` is known, reads `by`.
  void substitute(int value, int by);
  // A new constant.
  int add_constant(Tensor value);
  // Steps ahead of all that read them, in the name of step `of`: what `record` records for values
  // of these types. For `values` that no step computes, or that come from here. Returns its Vars'
  // values.
  std::vector<int> ahead(int of, std::span<const int> values,
                         FunctionRef<std::vector<Var>(std::span<const Var>)> record);

  // Dead code left out, values and steps numbered anew.
  void finish();

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  int add(Value value);
  void read(int s);    // enters step s among the readers of its operands
  void unread(int s);  // takes it out
  bool before(int s, int t) const;

  LoweredProgram& program_;
  const Backend& backend_;
  int recorded_;  // steps behind these run ahead of all
  std::vector<std::vector<int>> readers_;
  std::vector<bool> kept_;
};

}  // namespace tapescope
