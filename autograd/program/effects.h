// The steps that make a Program's effects: they come last, and on a device a guard can keep all of
// them from happening without the host.
#pragma once

#include "autograd/program/lower.h"

namespace tapescope {

// Steps whose results are new values of parameters, and nothing else, behind all others, in their
// order. So nothing has changed where a guard ends the run, and neighbours can be one kernel.
void put_effects_last(LoweredProgram& program);

// On a GPU, where every effect is made by an UpdateOp: a step that looks at the guard takes the
// guard's place, and the updates read its answer (LoweredProgram::halted). The host then need not
// know the loss before it asks for the updates. Nothing changes elsewhere.
void guard_on_device(LoweredProgram& program, const Backend& backend);

}  // namespace tapescope
