// Reductions of f32 with vector instructions: any set of axes as steps over {outer, rows, columns}.
#pragma once

#include "kernels/reduce/reduce.h"

namespace tapescope::simd {

bool supports_reduce(const ReduceShape& shape);
Plan reduce(const ReduceShape& shape);
bool supports_broadcast(const BroadcastShape& shape);
Plan broadcast_like(const BroadcastShape& shape);

}  // namespace tapescope::simd
