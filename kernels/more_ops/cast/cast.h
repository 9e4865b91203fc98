// Conversion between dtypes, any to any.
//
//   y[i] = x[i] in another dtype
//
// Floating to narrower floating rounds to nearest even; floating to integer truncates towards
// zero and saturates (NaN becomes 0); i64 to u8 saturates.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct CastShape {
  DType from = DType::f32;
  DType to = DType::f32;
  std::int64_t n = 0;  // elements
};

// in: x {n} of dtype `from`    out: y {n} of dtype `to`, which is not x. The dtype asked of the
// table is `from`.
Variants<CastShape> cast_variants();

}  // namespace tapescope
