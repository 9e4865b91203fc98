// Pooling of f32 images with vector instructions, one image per chunk of parallel work.
#pragma once

#include "kernels/pool2d/pool2d.h"

namespace tapescope::simd {

Plan max_pool2d(const Pool2dShape& shape);
Plan max_pool2d_scatter(const Pool2dShape& shape);
Plan avg_pool2d(const Pool2dShape& shape);
Plan avg_pool2d_gradient(const Pool2dShape& shape);

}  // namespace tapescope::simd
