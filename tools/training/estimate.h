// How long a training will take, said before it starts.
#pragma once

#include <string>

namespace tapescope {

// Of a 3x3 convolution of middling size on this machine, now: what a training step's FLOPs are
// divided by. Takes some milliseconds.
double measured_flops_per_second();

std::string duration_text(double seconds);  // "3 h 20 min", "42 s"

}  // namespace tapescope
