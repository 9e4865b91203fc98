// Counting: y[i] = x[i] + 1 for integers (batches tracked, optimiser steps).
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct IncrementShape {
  std::int64_t n = 0;  // elements, i64
};

// in: x {n} i64    out: y {n} i64; may be x
Variants<IncrementShape> increment_variants();

}  // namespace tapescope
