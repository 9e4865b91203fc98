// Which memory each value of a lowered program needs, and from which step to which.
#pragma once

#include <vector>

#include "autograd/program/lower.h"
#include "autograd/program/memory_plan.h"

namespace tapescope {

inline std::size_t as_index(int index) { return static_cast<std::size_t>(index); }

struct StepNeeds {
  std::size_t workspace = 0;  // bytes of the arena, while it runs
  bool packed = false;        // what its kernel makes of operand 1 is kept, and read in its place
  bool fixed = false;         // it makes what it made in the last run
};

struct Lives {
  static constexpr int kNone = -1;
  // By value: in whose memory it lies, and where there, in bytes. A value's own, unless it is an
  // alias, in a bucket, or written over an operand.
  std::vector<int> root;
  std::vector<std::size_t> offset;
  std::vector<int> first, last;         // by root: steps, or kNone
  std::vector<bool> in_place;           // by step: an output is written over an operand
  std::vector<bool> assigned_in_place;  // by assignment: over the parameter itself
  std::vector<bool> kept;               // by root: from run to run, in memory of its own
  std::vector<BufferLife> buffers;      // what the arena is to hold
  std::vector<int> buffer_of;           // by root: into buffers, or kNone
  std::vector<int> workspace_in;        // by step: into buffers, or kNone
};

// `types` by value, `needs` by step. With `effects` a step may write a parameter's new value in its
// place.
Lives find_lives(const LoweredProgram& program, std::span<const Type> types,
                 std::span<const StepNeeds> needs, bool effects);

// Whether the step looks at more than the operand's shape: only then must it still be there.
bool reads(const Step& step, std::size_t operand);

// By value: the value whose memory it is part of, by its op alone (an alias, a place in a bucket).
std::vector<int> roots_of_aliases(const LoweredProgram& program,
                                  std::vector<std::size_t>* offsets = nullptr);

}  // namespace tapescope
