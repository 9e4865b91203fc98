// Dropout of f32 with vector instructions.
#pragma once

#include "kernels/dropout/dropout.h"

namespace tapescope::simd {

Plan dropout(const DropoutShape& shape);

}  // namespace tapescope::simd
