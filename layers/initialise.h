// Initial values, drawn on the host from a stream keyed by (seed, name).
#pragma once

#include "layers/module.h"

namespace tapescope::initialise {

// He et al. 2015 (arXiv 1502.01852): normal with variance 2 / fan_in, for layers before a ReLU.
Tensor he_normal(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in);
// Glorot and Bengio 2010: uniform with variance 2 / (fan_in + fan_out).
Tensor xavier_uniform(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in,
                      std::int64_t fan_out);
// Uniform in +-1 / sqrt(fan_in): what PyTorch gives biases.
Tensor uniform_fan_in(const Build& build, std::string_view name, Shape shape, std::int64_t fan_in);
Tensor constant(Shape shape, double value);

}  // namespace tapescope::initialise
