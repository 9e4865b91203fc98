// The library that speaks MPI, opened when it is asked for.
#pragma once

#include <memory>
#include <string>

#include "kernels/collectives/message_link.h"

namespace tapescope {

// Empty, or why ranks cannot speak through MPI here. Loads the library and starts nothing.
std::string why_no_mpi();
// Starts MPI, for the rest of the process: once. Throws a usage error with why_no_mpi(), a failure
// where MPI does not start.
std::unique_ptr<MessageLink> open_mpi();

// What program and library must have in common.
constexpr int kMpiLibraryVersion = 2;

// The functions that the library exports.
extern "C" {
using TapescopeMpiVersion = int();
// Null, and `why`, where MPI does not start.
using TapescopeMpiOpen = MessageLink*(std::string* why);
}

}  // namespace tapescope
