// A CUDA device as the engine sees one.
#pragma once

#include <memory>
#include <string>

#include "engine/runtime.h"

namespace tapescope::cuda {

// Device 0 (CUDA_VISIBLE_DEVICES chooses which that is). Null where there is none; `why` then says
// so in one sentence.
std::unique_ptr<DeviceRuntime> open_device(std::string& why);

}  // namespace tapescope::cuda
