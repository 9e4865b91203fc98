// `--memory-limit`: a step that computes values again rather than keep them.
#pragma once

#include <string>

#include "autograd/program/program.h"

namespace tapescope {

// "2G", "1.5GB", "800M", "64K" (powers of 1000) or bytes; "": 0, no limit. Throws a usage error.
std::size_t memory_limit_from(const std::string& text);

// Compiles the step again so that its arena takes at most `most` bytes at options.memory_rows rows,
// if it takes more. Throws a MemoryLimitError.
void limit_arena(Program& program, Tape& tape, std::span<const Var> outputs, const Effects& effects,
                 CompileOptions options, std::size_t most);

// The same, so that the plan's total and `beside` bytes are within `limit` (0: there is none).
// Returns the bytes that the arena may take. Throws a usage error that says in the words of the
// command line what is needed.
std::size_t limit_memory(Program& program, Tape& tape, std::span<const Var> outputs,
                         const Effects& effects, CompileOptions options, std::size_t limit,
                         std::size_t beside);

// "memory: 1.90 GB planned without a limit; 143 values are computed again, 0.98 GB, +6.0 % FLOP";
// "" where there was no need.
std::string memory_told(const Recomputation& done, std::size_t beside);

}  // namespace tapescope
