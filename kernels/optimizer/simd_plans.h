// Optimiser steps of f32 with vector instructions.
#pragma once

#include "kernels/optimizer/optimizer.h"

namespace tapescope::simd {

Plan sgd(const SgdShape& shape);
Plan adamw(const AdamwShape& shape);

}  // namespace tapescope::simd
