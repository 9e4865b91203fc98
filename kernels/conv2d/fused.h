// A convolution and what follows it in one pass, for Programs that change no weights:
//
//   y = clamp(conv2d(x, w) + bias + residual, least, most)
//
// With a batch normalisation folded into w and bias this is a block of a net that answers. Its
// table is not conv2d's: weights are transformed once, so that other kernels are the best for one
// image.
#pragma once

#include <limits>

#include "kernels/conv2d/conv2d.h"

namespace tapescope {

struct FusedConv2dShape {
  Conv2dShape conv;
  bool residual = false;  // then a bias as well
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};

// in: x {N,H,W,I}, w {O,KH,KW,I/groups}, bias {O} or null, residual {N,P,Q,O} where there is one
// out: y {N,P,Q,O}
Variants<FusedConv2dShape> conv2d_fused_variants();

// Elements [begin, end) of y, which hold the convolution: the rest of the equation.
void finish(const FusedConv2dShape& shape, const void* residual, void* y, std::int64_t begin,
            std::int64_t end);

}  // namespace tapescope
