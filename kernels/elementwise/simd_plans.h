// Element-wise kernels with vector instructions: how a shape is cut into contiguous runs. f32 and
// bf16.
#pragma once

#include "kernels/elementwise/elementwise.h"

namespace tapescope::simd {

bool supports_unary(const UnaryShape& shape);
Plan unary(const UnaryShape& shape);
bool supports_binary(const BinaryShape& shape);
Plan binary(const BinaryShape& shape);

}  // namespace tapescope::simd
