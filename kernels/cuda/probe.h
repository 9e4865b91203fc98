// Whether this library holds machine code, or PTX, for the device that is set.
#pragma once

namespace tapescope::cuda {

bool has_code_for_this_device();

}  // namespace tapescope::cuda
