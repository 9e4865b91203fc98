// Conversion element by element: the oracle for every other variant.
#pragma once

#include "kernels/cast/cast.h"

namespace tapescope::reference {

Plan cast(const CastShape& shape);

}  // namespace tapescope::reference
