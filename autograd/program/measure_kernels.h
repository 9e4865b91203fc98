// Which variant of each kernel is the fastest where it runs: in the step itself.
//
// The whole step is run again and again, each time with other variants, and every node is timed by
// itself: caches, memory and neighbours are those of the real step, which a kernel run in a loop
// has not. Variants take turns, so that what slows the machine for a while slows all of them, and
// what counts is the least time of each node.
#pragma once

#include <string>
#include <vector>

#include "autograd/program/program.h"

namespace tapescope {

struct MeasureLimits {
  int rounds = 5;                // turns in which every variant is timed
  double seconds = 15;           // no further round begins after so long; one is always made
  std::size_t bytes = SIZE_MAX;  // of MemoryPlan::total(), whatever is tried or chosen
};

// A kernel at one shape, with all nodes of the step that run it.
struct MeasuredKernel {
  std::string kernel;                 // a key of KernelChoices: family and shape
  std::vector<std::string> variants;  // the usual one first
  std::vector<double> seconds = {};   // of each in a step
  std::size_t chosen = 0;
};

struct KernelMeasurement {
  std::vector<MeasuredKernel> kernels;  // those with something to choose from, as they first run
  std::size_t asked = 0;                // how many there are with those that have one variant
  double usual_step = 0, step = 0;      // seconds of a step, the least of each node: before, after
  double seconds = 0;                   // that measuring took
  std::size_t left_out = 0;             // variants that would not have been within the bytes

  // All of them, the usual ones too: another version may prefer others.
  KernelChoices choices() const;
};

// Times the kernels of a Program for `batch` rows on inputs that are made up, and changes no
// parameter; the Program has the choices afterwards, beside those that were asked for by name,
// which stay as they are. Another variant than the usual is taken where it needs less than 0.97 of
// its time, and all are given up where the step is none the faster. Of ranks that share the Program
// the first decides for all; all of them call this. What a variant may be: kernels/common/choice.h.
KernelMeasurement measure_kernels(Program& program, std::int64_t batch,
                                  Communicator* ranks = nullptr, const MeasureLimits& limits = {});

}  // namespace tapescope
