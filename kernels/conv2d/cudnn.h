// Convolution and its gradients by cuDNN (part of the CUDA library; see kernels/cuda).
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope::cudnn {

const char* why_missing();  // "", or why cuDNN cannot be used here
// Whether cuDNN has an engine for the shape that is deterministic and computes in its dtype.
bool supports_conv2d(const Conv2dShape& shape);
bool supports_conv2d_data_gradient(const Conv2dShape& shape);
bool supports_conv2d_weight_gradient(const Conv2dShape& shape);
Plan conv2d(const Conv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::cudnn
