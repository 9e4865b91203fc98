// Convolution as the textbook writes it: the oracle for every other variant.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope::reference {

Plan conv2d(const Conv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::reference
