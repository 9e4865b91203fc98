// Resampling pixel by pixel, by their weights: the oracle.
#pragma once

#include "kernels/more_ops/upsample/upsample.h"

namespace tapescope::reference {

Plan upsample_nearest(const UpsampleShape& shape);
Plan upsample_bilinear(const UpsampleShape& shape);
Plan upsample_nearest_gradient(const UpsampleShape& shape);
Plan upsample_bilinear_gradient(const UpsampleShape& shape);

}  // namespace tapescope::reference
