// Resampling of f32 images with vector instructions, a row at a time.
#pragma once

#include "kernels/more_ops/upsample/upsample.h"

namespace tapescope::simd {

bool supports_upsample(const UpsampleShape& shape);  // extents below 2^31, none of them 0
Plan upsample_bilinear(const UpsampleShape& shape);
Plan upsample_nearest_gradient(const UpsampleShape& shape);
Plan upsample_bilinear_gradient(const UpsampleShape& shape);

}  // namespace tapescope::simd
