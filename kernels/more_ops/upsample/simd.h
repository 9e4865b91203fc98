// Resampling of rows of float pixels, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// One side of an image: output position k reads (1 - weight) * in[low] + weight * in[high].
struct ResampleTap {
  std::int32_t low, high;
  float weight;
};

struct ResampleKernels {
  // y {Q, C} from the rows top and bottom {W, C}, bottom weighted `weight`
  void (*bilinear_row)(std::int64_t Q, std::int64_t C, const ResampleTap* columns, const float* top,
                       const float* bottom, float weight, float* y);
  // dx {W, C} += weight * the transpose of the columns' interpolation applied to dy {Q, C}
  void (*bilinear_row_gradient)(std::int64_t Q, std::int64_t C, const ResampleTap* columns,
                                const float* dy, float weight, float* dx);
  // dx {W, C} += the sum of the pixels of dy {Q, C} that read each
  void (*nearest_row_gradient)(std::int64_t Q, std::int64_t W, std::int64_t C, const float* dy,
                               float* dx);
};
TAPESCOPE_DECLARE_ISA_TABLE(ResampleKernels, resample_kernels)

}  // namespace tapescope
