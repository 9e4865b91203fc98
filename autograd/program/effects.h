// Which steps of a Program come first, and which last; and how a guard keeps a device from making
// its effects without the host.
#pragma once

#include "autograd/program/lower.h"

namespace tapescope {

// On a GPU: what JoinedOps make of parameters alone, the bf16 copies of weights, ahead of all else,
// so that it can be one kernel. It is kept until its last reader, two bytes a weight.
void put_copies_first(LoweredProgram& program, const Backend& backend);

// Steps whose results are new values of parameters, and nothing else, behind all others, in their
// order. So nothing has changed where a guard ends the run, and neighbours can be one kernel.
void put_effects_last(LoweredProgram& program);

// On a GPU, where every effect is made by an UpdateOp: a step that looks at the guard takes the
// guard's place, and the updates read its answer (LoweredProgram::halted). The host then need not
// know the loss before it asks for the updates. Nothing changes elsewhere.
void guard_on_device(LoweredProgram& program, const Backend& backend);

}  // namespace tapescope
