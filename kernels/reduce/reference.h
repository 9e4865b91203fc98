// Reductions as one loop over the elements, and their adjoint: the oracle.
#pragma once

#include "kernels/reduce/reduce.h"

namespace tapescope::reference {

Plan reduce(const ReduceShape& shape);
Plan broadcast_like(const BroadcastShape& shape);

}  // namespace tapescope::reference
