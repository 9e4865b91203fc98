// Pooling window by window: the oracle for every other variant.
#pragma once

#include "kernels/pool2d/pool2d.h"

namespace tapescope::reference {

Plan max_pool2d(const Pool2dShape& shape);
Plan max_pool2d_scatter(const Pool2dShape& shape);
Plan max_pool2d_gather(const Pool2dShape& shape);
Plan avg_pool2d(const Pool2dShape& shape);
Plan avg_pool2d_gradient(const Pool2dShape& shape);

}  // namespace tapescope::reference
