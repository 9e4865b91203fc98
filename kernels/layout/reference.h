// Moving elements one by one, by their indices: the oracle.
#pragma once

#include "kernels/layout/layout.h"

namespace tapescope::reference {

Plan pad(const PadShape& shape);
Plan slice(const SliceShape& shape);
Plan concat(const ConcatShape& shape);
Plan transpose(const TransposeShape& shape);
Plan upsample_nearest(const UpsampleShape& shape);
Plan upsample_bilinear(const UpsampleShape& shape);
Plan upsample_nearest_gradient(const UpsampleShape& shape);
Plan upsample_bilinear_gradient(const UpsampleShape& shape);

}  // namespace tapescope::reference
