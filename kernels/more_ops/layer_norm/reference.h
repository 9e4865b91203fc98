// A row at a time, as the equations stand: the oracle.
#pragma once

#include "kernels/more_ops/layer_norm/layer_norm.h"

namespace tapescope::reference {

Plan layer_norm(const LayerNormShape& shape);
Plan layer_norm_gradient(const LayerNormShape& shape);

}  // namespace tapescope::reference
