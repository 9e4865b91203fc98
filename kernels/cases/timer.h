// How long kernels take, measured one after the other in turns, and what the device can do at most.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/runtime.h"
#include "engine/type.h"

namespace tapescope::kernel_cases {

// Seconds of each call: the best of `rounds`, in each of which every one runs for about
// `round_seconds`, A B C A B C, so that what slows the machine for a while slows all of them. A
// call of more than a second runs once.
std::vector<double> seconds_in_turns(DeviceRuntime& runtime,
                                     std::span<const std::function<void()>> calls,
                                     double round_seconds = 0.05, int rounds = 5);

// The most that a kernel can reach, by the roofline model (Williams, Waterman and Patterson 2009):
// the time of its bytes or of its arithmetic, whichever is longer.
struct Roof {
  double bytes_per_second = 0;  // of the fastest copy of numbers that do not fit a cache
  double flops_per_second = 0;  // of the fastest square matrix product
  double share(double seconds, double bytes, double flops) const;
};
// Measured on the device by its own kernels, in this dtype. Takes about a second.
Roof measure_roof(Device device, DType dtype);

}  // namespace tapescope::kernel_cases
