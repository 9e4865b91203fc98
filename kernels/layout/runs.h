// Layout kernels that copy runs: the longest contiguous pieces that operand and result share.
#pragma once

#include "kernels/layout/layout.h"

namespace tapescope::runs {

Plan pad(const PadShape& shape);
Plan slice(const SliceShape& shape);
Plan concat(const ConcatShape& shape);
Plan transpose(const TransposeShape& shape);

}  // namespace tapescope::runs
