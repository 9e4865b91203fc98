// Element-wise functions as plain loops over libm: the oracle for every other variant.
#pragma once

#include "kernels/elementwise/elementwise.h"

namespace tapescope::reference {

Plan unary(const UnaryShape& shape);
Plan binary(const BinaryShape& shape);

}  // namespace tapescope::reference
