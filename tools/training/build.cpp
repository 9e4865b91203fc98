#include "tools/training/build.h"

#include "commit.h"  // made by cmake/TapescopeCommit.cmake

namespace tapescope {

BuildInfo build_info() {
  std::string options = TAPESCOPE_BUILD;
  if (*TAPESCOPE_SANITIZERS != '\0') {
    options += std::string(", sanitizers ") + TAPESCOPE_SANITIZERS;
  }
  return {TAPESCOPE_VERSION, TAPESCOPE_COMMIT, TAPESCOPE_COMPILER, options};
}

}  // namespace tapescope
