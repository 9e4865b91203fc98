// What kernels make of weights before they compute, kept from run to run.
#pragma once

#include "autograd/parameter.h"
#include "kernels/common/plan.h"

namespace tapescope {

// The packing of this plan of the parameter's present value, made anew only where that has changed.
// All Programs share it, and it lives as long as the parameter.
const void* packed_weights(Parameter& parameter, const Plan& plan, const Queue& queue);

}  // namespace tapescope
