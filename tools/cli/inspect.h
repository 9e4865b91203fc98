// `tapescope inspect`: one file an analysis; the list is in inspect.cpp.
#pragma once

#include "tools/cli/inspected.h"

namespace tapescope::cli {

extern const Subcommand kInspectStructure, kInspectParameters, kInspectActivations,
    kInspectTraining, kInspectTape;

}  // namespace tapescope::cli
