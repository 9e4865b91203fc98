// A lowered program made ready for one signature of input types: types, kernels, memory.
#pragma once

#include <vector>

#include "autograd/program/lives.h"

namespace tapescope {

// Where a value lies when the program runs.
struct Place {
  enum class Kind : std::uint8_t { arena, kept, input, parameter, constant } kind = Kind::arena;
  int index = 0;           // of the input, parameter or constant
  std::size_t offset = 0;  // in the arena or in what is kept, bytes
};

struct ReadyStep {
  Plan plan;                  // empty for an alias
  int first_operand = 0;      // into Specialised::pointers
  int first_output = 0;       // into Specialised::pointers
  std::size_t workspace = 0;  // arena offset
  bool in_place = false;
  int packed = -1;     // the parameter whose packing is kept for this step
  bool fixed = false;  // depends on parameters and constants only
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  std::size_t packed_at = kNowhere;  // where in what is kept a fixed operand's packing is
  Plan joined;  // this step and those behind it in one launch, where there is such a kernel
  int joined_steps = 0;  // how many those are, this one included
};

struct Specialised {
  std::vector<Type> types;    // by value
  std::vector<Place> places;  // by value
  std::vector<ReadyStep> steps;
  std::vector<bool> assigned_in_place;  // by assignment: a step writes the parameter itself
  std::vector<int> pointer_values;      // the value that each pointer slot points at, -1: null
  std::vector<int> external_slots;      // slots that may point elsewhere at the next run
  std::vector<void*> pointers;
  const void *arena = nullptr, *kept = nullptr;  // what the slots of these point into
  // The parameters that what is kept was made of; empty: it is to be made.
  std::vector<std::pair<std::uint64_t, const void*>> fixed_of;
  MemoryPlan memory;
  bool has_run = false;
  int guard_step = -1;  // after this step the host looks at the guard
};

struct SpecialiseOptions {
  bool join = true;          // steps that one kernel can do together are done together
  bool keep_packed = false;  // what kernels make of a parameter belongs to it: packed_weights.h
  // All that depends on parameters and constants only is kept from run to run, and so is what
  // kernels make of it: beside the arena, MemoryPlan::kept bytes.
  bool keep_fixed = false;
  bool effects = true;  // a step may write a parameter's new value in its place
};
// `input_types` in the order of program.inputs.
Specialised specialise(const LoweredProgram& program, std::span<const Type> input_types,
                       const Backend& backend, const SpecialiseOptions& options);

// Its first half: what is known before anything has a place.
struct Needs {
  std::vector<Type> types;  // by value
  std::vector<StepNeeds> steps;
  MemoryPlan beside;  // all but the arena
};
Needs needs_of(const LoweredProgram& program, std::span<const Type> input_types,
               const Backend& backend, const SpecialiseOptions& options);

}  // namespace tapescope
