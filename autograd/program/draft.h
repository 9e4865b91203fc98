// A program of which some values are computed again, before it is one: what would live when.
#pragma once

#include <climits>

#include "autograd/program/specialise.h"

namespace tapescope {

struct Draft {
  static constexpr int kKept = INT_MAX;

  LoweredProgram program;        // steps without names, and nothing that is not computed
  std::vector<Type> types;       // by value
  std::vector<int> recorded_at;  // by step: the recorded step that it is, or is just before
  std::vector<int> repeats;      // by step: the recorded step that is done again, or -1
  std::vector<std::vector<int>>
      uses;           // by recorded root: its maker, then steps before which it is read
  bool valid = true;  // nothing is computed among the effects
  Lives lives;

  // The most bytes that live at one step.
  std::size_t largest() const;
  // By recorded step: bytes that live there above `target`.
  std::vector<double> excess(std::size_t target) const;
  // Makes the program this one, and says so in `recomputed`.
  void put_into(LoweredProgram& recorded, std::span<const Type> recorded_types) const;

  std::vector<std::size_t> live() const;  // by step
};

class Drafts {
 public:
  Drafts(const LoweredProgram& program, const Needs& needs);

  // `cuts` by root: it is computed again for readers behind that recorded step; kKept: it is not.
  // Makes `draft` anew, in the memory that it has.
  void make(const std::vector<int>& cuts, Draft& draft) const;

  // A value's root is what it is an alias of.
  int root(int value) const { return roots_[static_cast<std::size_t>(value)]; }
  bool is_computed(int value) const {
    return program_.values[static_cast<std::size_t>(value)].kind == Value::Kind::computed;
  }
  // Whether it may be dropped: it is a root, and a pure function of what can be read at any time.
  bool may_repeat(int root) const { return may_repeat_[static_cast<std::size_t>(root)]; }
  // By recorded step: the roots of what it reads that is computed.
  const std::vector<int>& read_by(int step) const {
    return read_by_[static_cast<std::size_t>(step)];
  }
  // Bytes that no draft lives in less than: what a step reads and writes, and what may not be
  // dropped while it runs.
  std::size_t bound() const;
  const Cost& cost(int step) const { return costs_[static_cast<std::size_t>(step)]; }
  // The first step whose result replaces what a parameter holds.
  int first_effect() const { return first_effect_; }

 private:
  class Maker;
  void find_what_may_repeat();

  const LoweredProgram& program_;
  const Needs& needs_;
  std::vector<int> roots_;
  std::vector<bool> may_repeat_;  // by value
  std::vector<Cost> costs_;       // by step
  std::vector<std::vector<int>> read_by_;
  int first_effect_;
};

}  // namespace tapescope
