// Whether there is a launcher of ranks by MPI.
#pragma once

#include <cstdlib>

namespace tapescope {

inline bool has_mpirun() {
  return std::system("mpirun --version 2>/dev/null | grep -q 'Open MPI'") == 0;
}

}  // namespace tapescope
