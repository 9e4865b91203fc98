// Batch normalisation of f32 with vector instructions: blocks of rows, merged in order.
#pragma once

#include "kernels/batch_norm/batch_norm.h"

namespace tapescope::simd {

bool supports_batch_norm(const BatchNormShape& shape);  // at least one row and channel
Plan batch_norm_training(const BatchNormShape& shape);
Plan batch_norm_inference(const BatchNormShape& shape);
Plan batch_norm_gradient(const BatchNormShape& shape);
Plan batch_norm_relu_training(const BatchNormShape& shape);
Plan batch_norm_relu_gradient(const BatchNormShape& shape);

}  // namespace tapescope::simd
