// What this machine can do at most, and how long a training will take, said before it starts.
#pragma once

#include <string>

namespace tapescope {

// Measured now, with the engine's threads.
double measured_flops_per_second();  // of a matrix product that lies in cache; some milliseconds
double measured_bytes_per_second();  // read and written by a copy that does not; 200 MB for a while

std::string duration_text(double seconds);  // "3 h 20 min", "42 s"

}  // namespace tapescope
