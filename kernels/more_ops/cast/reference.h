// Conversion element by element: the oracle for every other variant.
#pragma once

#include "kernels/more_ops/cast/cast.h"

namespace tapescope::reference {

Plan cast(const CastShape& shape);

}  // namespace tapescope::reference
