// The bf16 copies of many f32 tensors in one launch: of a net's weights, which a step in bf16
// reads.
#pragma once

#include <span>

#include "kernels/common/variant.h"

namespace tapescope {

// Tensor k's pointers lie `pitch` behind those of tensor k - 1: in[k * pitch] is its x.
struct CastManyShape {
  std::span<const std::int64_t> n;  // elements of each; read by prepare only
  std::int64_t pitch = 0;
};
// in: x {n} f32    out: y {n} bf16, each
// Family "cast_many": in the tables of GPU devices only.

}  // namespace tapescope
