// Blocked f32 matrix product from the parts of simd.h.
#pragma once

#include "kernels/matmul/matmul.h"

namespace tapescope::simd {

Plan matmul(const MatmulShape& shape);

}  // namespace tapescope::simd
