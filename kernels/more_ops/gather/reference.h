// Gather and scatter row by row: the oracle.
#pragma once

#include "kernels/more_ops/gather/gather.h"

namespace tapescope::reference {

Plan gather_rows_element(const GatherShape& shape);
Plan scatter_rows_element(const GatherShape& shape);

}  // namespace tapescope::reference
