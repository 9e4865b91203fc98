// Stands in for onednn.cpp in a build without oneDNN.
#include "kernels/conv2d/onednn.h"

namespace tapescope::onednn {

const std::string_view missing = "built without oneDNN";
std::string version() { return ""; }

bool supports_conv2d(const Conv2dShape&) { return false; }
bool supports_conv2d_data_gradient(const Conv2dShape&) { return false; }
bool supports_conv2d_weight_gradient(const Conv2dShape&) { return false; }
Plan conv2d(const Conv2dShape&) { return {}; }
Plan conv2d_fused(const FusedConv2dShape&) { return {}; }
Plan conv2d_data_gradient(const Conv2dShape&) { return {}; }
Plan conv2d_weight_gradient(const Conv2dShape&) { return {}; }

}  // namespace tapescope::onednn
