// Convolution by oneDNN: direct kernels on NHWC images, one image at a time on each thread of our
// own pool, so that an image's result depends neither on the batch nor on the number of threads.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/fused.h"

namespace tapescope::onednn {

// Empty, or why this build has no oneDNN.
extern const std::string_view missing;
// Of the library as it is found at run time, "2.6.3"; empty without it.
std::string version();

// False where oneDNN has only a reference kernel, hundreds of times slower.
bool supports_conv2d(const Conv2dShape& shape);
bool supports_conv2d_data_gradient(const Conv2dShape& shape);
bool supports_conv2d_weight_gradient(const Conv2dShape& shape);
Plan conv2d(const Conv2dShape& shape);
Plan conv2d_fused(const FusedConv2dShape& shape);
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::onednn
