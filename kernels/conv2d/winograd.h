// Winograd's minimal filtering for convolutions of stride 1 in f32 (Lavin and Gray, 2016): for 3x3
// weights F(4x4, 3x3), 36 multiplications for a 4x4 tile of the output instead of 144; for 5x5
// F(2x2, 5x5), 36 for a 2x2 tile instead of 100.
//
//   forward:          y  = A^T [ (G g G^T) . (B^T d B) ] A     d: a 6x6 window, g: the weights
//   data gradient:    the same with the weights turned by half a turn, dy in the place of x
//   weight gradient:  dw = E^T [ sum over tiles (D dy D^T) . (B^T d B) ] E
//
// The products . over channels are 36 matrix products with a row for each tile. A tile's row does
// not depend on its neighbours, so an image's result does not depend on the batch.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/fused.h"

namespace tapescope::winograd {

// How much larger the rounding error may be than that of plain sums. With independent data of unit
// variance, output position j of a tile sees along one axis an error variance of
//   sum_e A[e,j]^2 |B_e|^2 |G_e|^2 / 3,
// B_e and G_e the rows of the transforms, relative to a plain sum of three terms: at most 7.2 with
// the points of simd.cpp (31.4 with the textbook's). Two axes multiply variances, so the standard
// deviation at the worst position is larger by 7.2; rounding in the transforms adds to that.
// F(2x2, 5x5): 5.6. The weight gradients F(3x3, 4x4) and F(5x5, 2x2): 6.0, and 9.5 in the corners.
constexpr double kErrorFactor = 8, kWeightGradientErrorFactor = 10;
// F(2x2, 3x3) on the points 0, 1, -1 and infinity: 5/3 along each axis.
constexpr double kSmallErrorFactor = 2.5;

bool supports_conv2d(const Conv2dShape& shape);
bool supports_conv2d_data_gradient(const Conv2dShape& shape);
bool supports_conv2d_weight_gradient(const Conv2dShape& shape);
bool supports_conv2d_small(const FusedConv2dShape& shape);
Plan conv2d(const Conv2dShape& shape);
Plan conv2d_fused(const FusedConv2dShape& shape);
Plan conv2d_fused_small(const FusedConv2dShape& shape);  // F(2x2, 3x3)
Plan conv2d_data_gradient(const Conv2dShape& shape);
Plan conv2d_weight_gradient(const Conv2dShape& shape);

}  // namespace tapescope::winograd
