// The sum of squares of each of several tensors, and the sum of a vector in its order: what the
// norm of all gradients together is made of.
#pragma once

#include <span>

#include "kernels/common/variant.h"

namespace tapescope {

struct SquareSumsShape {
  DType dtype = DType::f32;
  std::span<const std::int64_t> n;  // elements of each; read by prepare only
};
// in: one pointer per tensor    out: y {tensors}
// Family "square_sums": in the tables of GPU devices only. On the CPU the op takes the kernels of
// `unary` and `reduce`, one tensor after the other.

// y = ((x[0] + x[1]) + x[2]) + ...; 0 for n = 0.
struct SumInOrderShape {
  DType dtype = DType::f32;
  std::int64_t n = 0;
};
// in: x {n}    out: y {}
Variants<SumInOrderShape> sum_in_order_variants();

}  // namespace tapescope
