// Remedies that whoever shows an error may put in words of its own: the command line names options.
#pragma once

#include "engine/error.h"

namespace tapescope {

enum class Remedy : unsigned char {
  smaller_step,
  larger_images,
  fewer_threads,
  own_kernel,
  cpu,
  leave_out,    // what cannot be read
  longer_wait,  // for another rank
};

// An error whose message ends with its remedy.
struct ErrorWithRemedy : Error {
  ErrorWithRemedy(Remedy remedy, const Error& error) : Error(error), remedy(remedy) {}
  Remedy remedy;
};

}  // namespace tapescope
