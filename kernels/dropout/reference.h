// Dropout element by element: the oracle for every other variant.
#pragma once

#include "kernels/dropout/dropout.h"

namespace tapescope::reference {

Plan dropout(const DropoutShape& shape);

}  // namespace tapescope::reference
