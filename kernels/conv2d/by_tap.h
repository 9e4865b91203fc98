// Convolutions of maps of a few pixels in f32, or of bf16 as f32, one matrix product a tap over the
// whole batch.
//
//   forward:          y[to]   += x[from]  w_tap^T     for the pixels that a tap joins, from -> to
//   data gradient:    dx[from] += dy[to]  w_tap
//   weight gradient:  dw_tap    = sum over the pixels of dy[to]^T x[from]
//
// On such maps most taps of most pixels lie in the padding: of a 3x3 window over 1x1 one in nine
// counts, over 2x2 16 in 36. They are left out, and with them the weights that nothing reads. A
// tap's rows are those of all images, so a matrix product has rows enough where an image alone has
// one.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace tapescope::by_tap {

bool supports(const Conv2dShape& shape);
Plan conv2d(const Conv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::by_tap
