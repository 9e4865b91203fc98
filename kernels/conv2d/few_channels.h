// The data gradient into an image of few channels (the first layer's, which saliency needs): direct
// kernels keep channels in vector lanes and leave most of them empty. Here each output pixel's
// gradient is multiplied by all taps at once, {pixels, O} times {O, KH*KW*I}, and the rows of the
// product are added to the image where the taps lie.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope::few_channels {

bool supports_conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);

}  // namespace tapescope::few_channels
