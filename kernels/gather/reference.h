// Gather, scatter and one-hot row by row: the oracle.
#pragma once

#include "kernels/gather/gather.h"

namespace tapescope::reference {

Plan gather_rows_element(const GatherShape& shape);
Plan scatter_rows_element(const GatherShape& shape);
Plan one_hot(const GatherShape& shape);

}  // namespace tapescope::reference
