// Batch normalisation of a batch that is cut (kernels/common/pieces.h), in two parts: sums over the
// rows of each piece, which are added up, and the rest, which reads the sums of all. `sums` has the
// operands of the whole and as output 0 sums f64 {2C + 1}; `rest` has one more operand, those sums,
// and the outputs of the whole.
//
//   of x: sum x, sum x^2, rows             of g, what of dy counts: sum g, sum g * (x - mean), rows
//
// With a residual branch output 1 of the gradient's sums is g, which is dr; the rest is that of the
// plain gradient of g.
#pragma once

#include <cstdint>

namespace tapescope {

enum class BatchNormPart : std::uint8_t { whole, sums, rest };

}  // namespace tapescope
