// Batch normalisation in two passes, summed in f64: the oracle.
#pragma once

#include "kernels/batch_norm/batch_norm.h"

namespace tapescope::reference {

Plan batch_norm_training(const BatchNormShape& shape);
Plan batch_norm_inference(const BatchNormShape& shape);
Plan batch_norm_gradient(const BatchNormShape& shape);
Plan batch_norm_relu_training(const BatchNormShape& shape);
Plan batch_norm_relu_gradient(const BatchNormShape& shape);

}  // namespace tapescope::reference
