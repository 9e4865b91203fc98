// Which build of the program this is.
#pragma once

#include <string>

namespace tapescope {

struct BuildInfo {
  std::string version;   // "0.1"
  std::string commit;    // "4e5a761b0c1d", with "-dirty" where files differ; "unknown" without git
  std::string compiler;  // "GNU 12.2.0"
  std::string options;   // "Release -O3 -DNDEBUG, oneDNN ON, CUDA OFF"
};
BuildInfo build_info();

}  // namespace tapescope
