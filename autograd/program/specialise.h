// A lowered program made ready for one signature of input types: types, kernels, memory.
#pragma once

#include <vector>

#include "autograd/program/lower.h"

namespace tapescope {

// Where a value lies when the program runs.
struct Place {
  enum class Kind : std::uint8_t { arena, input, parameter, constant } kind = Kind::arena;
  int index = 0;           // of the input, parameter or constant
  std::size_t offset = 0;  // in the arena, bytes
};

struct ReadyStep {
  Plan plan;                  // empty for an alias
  int first_operand = 0;      // into Specialised::pointers
  int first_output = 0;       // into Specialised::pointers
  std::size_t workspace = 0;  // arena offset
  bool in_place = false;
  int packed = -1;  // the parameter whose packing is kept for this step
  Plan joined;      // this step and those behind it in one launch, where there is such a kernel
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
  const void* arena = nullptr;  // what the arena slots point into
  MemoryPlan memory;
  int guard_step = -1;  // after this step the guard is looked at
};

struct SpecialiseOptions {
  bool join = true;          // steps that one kernel can do together are done together
  bool keep_packed = false;  // what kernels make of parameters lies outside the arena
};
// `input_types` in the order of program.inputs.
Specialised specialise(const LoweredProgram& program, std::span<const Type> input_types,
                       const Backend& backend, const SpecialiseOptions& options);

}  // namespace tapescope
