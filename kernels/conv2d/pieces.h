// A gradient of weights piece by piece, by a kernel that sums over a whole batch.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope {

// What c.pieces asks for, of `prepare`, which is for whole batches; without pieces that itself.
Plan weight_gradient_by_pieces(const Conv2dShape& c, Plan (*prepare)(const Conv2dShape&));

}  // namespace tapescope
