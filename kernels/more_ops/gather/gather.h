// One element per row, chosen by an index, and its adjoint.
//
//   gather_rows_element:  y[n]   = x[n, index[n]]
//   scatter_rows_element: y[n,c] = g[n] where c = index[n], else 0     (the adjoint)
//
// An index outside [0, C) is a usage error naming its value, its position and C; on a GPU, where a
// kernel cannot throw, its row becomes NaN.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct GatherShape {
  DType dtype = DType::f32;  // of x, g and y
  std::int64_t N = 0;
  std::int64_t C = 0;
};

// in: x {N, C}, index {N} i64    out: y {N}
Variants<GatherShape> gather_rows_element_variants();
// in: g {N}, index {N} i64       out: y {N, C}
Variants<GatherShape> scatter_rows_element_variants();

}  // namespace tapescope
