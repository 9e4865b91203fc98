// Moving elements one by one, by their indices: the oracle.
#pragma once

#include "kernels/layout/layout.h"

namespace tapescope::reference {

Plan pad(const PadShape& shape);
Plan slice(const SliceShape& shape);
Plan concat(const ConcatShape& shape);
Plan transpose(const TransposeShape& shape);

}  // namespace tapescope::reference
