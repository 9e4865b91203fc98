// Dropout (Srivastava et al., 2014) whose mask is recomputed, never stored.
//
//   y[r,e] = u(r,e) >= p ? x[r,e] / (1 - p) : 0
//
// u is uniform in [0, 1), from Philox: key = philox_key(mix(seed_key, step)), counter = (low and
// high half of row r, e / 4, 0), lane e % 4. The same row of the same step is masked alike in any
// batch and on any device. The map is linear in x, so its VJP is this kernel applied to dy.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct DropoutShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0;          // N
  std::int64_t row_elements = 0;  // elements of one sample, below 2^34
  double p = 0.5;                 // probability of a zero, in [0, 1)
  std::uint64_t seed_key = 0;     // seed, scope path and use count, mixed
};

// in: x {rows, row_elements}, step {} i64, first {} i64 or null (0): what row 0 here is numbered
// out: y {rows, row_elements}; may be x
Variants<DropoutShape> dropout_variants();
// The same of max(x, 0), in one pass. Its VJP needs no mask: y > 0 says where both let pass.
Variants<DropoutShape> relu_dropout_variants();

}  // namespace tapescope
