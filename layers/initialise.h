// Initial values, drawn on the host from a stream keyed by (seed, name).
#pragma once

#include "layers/module.h"

namespace tapescope::initialise {

// He et al. 2015 (arXiv 1502.01852): normal with variance 2 / fan_in, for layers before a ReLU.
Tensor he_normal(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in);
// Uniform in +-1 / sqrt(fan_in): what PyTorch gives biases.
Tensor uniform_fan_in(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in);
Tensor constant(Shape shape, double value);

// Where it is not null, this thread's parameters start as zeros, for a file to bring their values;
// their elements are taken from it, and a usage error says where they are more.
extern thread_local std::int64_t* room;

}  // namespace tapescope::initialise
