// The textbook's three loops: the oracle for every other variant.
#pragma once

#include "kernels/matmul/matmul.h"

namespace tapescope::reference {

Plan matmul(const MatmulShape& shape);

}  // namespace tapescope::reference
