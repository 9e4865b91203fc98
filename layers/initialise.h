// What initial values are drawn from.
#pragma once

#include "layers/module.h"

namespace tapescope::initialise {

// He et al. 2015 (arXiv 1502.01852): normal with variance 2 / fan_in, for layers before a ReLU.
InitialValue he_normal(std::int64_t fan_in);
// Uniform in +-1 / sqrt(fan_in): what PyTorch gives biases.
InitialValue uniform_fan_in(std::int64_t fan_in);
InitialValue constant(double value);

}  // namespace tapescope::initialise
