// Convolutions of each channel by itself (as many groups as channels, one output of each): taps of
// a pixel are added up with the channels in vectors, so nothing is gathered and no lane is empty.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope::depthwise {

bool supports(const Conv2dShape& shape);
Plan conv2d(const Conv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::depthwise
