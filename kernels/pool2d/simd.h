// Pooling of one image of f32 or bf16, channels in vector lanes, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

struct PoolImage {
  std::int64_t H, W, C, P, Q, KH, KW, stride_h, stride_w, pad_h, pad_w;
  bool count_include_pad, relu;
};

struct Pool2dKernels {
  // x {H,W,C} -> y {P,Q,C}, k {P,Q,C}
  void (*max_pool)(const PoolImage&, const void* x, void* y, std::uint8_t* k);
  // dy {P,Q,C}, k {P,Q,C} -> dx {H,W,C}
  void (*scatter)(const PoolImage&, const void* dy, const std::uint8_t* k, void* dx);
  // x {H,W,C} -> y {P,Q,C}
  void (*avg_pool)(const PoolImage&, const void* x, void* y);
  // dy {P,Q,C} -> dx {H,W,C}
  void (*avg_gradient)(const PoolImage&, const void* dy, void* dx);
};
struct Pool2dTables {
  Pool2dKernels f32, bf16;
};
TAPESCOPE_DECLARE_ISA_TABLE(Pool2dTables, pool2d_kernels)

}  // namespace tapescope
