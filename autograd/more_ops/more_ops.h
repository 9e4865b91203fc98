// Functions that record ops which no net of the zoo needs: explanations, losses and detectors do.
// Included by ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "autograd/node.h"

namespace tapescope {

Var pad(Var x, std::span<const std::int64_t> before, std::span<const std::int64_t> after,
        double value = 0);
Var slice(Var x, int axis, std::int64_t begin, std::int64_t end);
Var concat(std::span<const Var> parts, int axis);  // 1 to 15 parts
// What `parts[part]` contributed to `whole = concat(parts, axis)`; of the parts only the shapes are
// read, so a batch that was joined along axis 0 can be taken apart at any batch size.
Var concat_part(Var whole, std::span<const Var> parts, int axis, int part);
Var upsample_nearest(Var x, std::int64_t factor);                       // {N,H,W,C}
Var upsample_bilinear(Var x, std::int64_t height, std::int64_t width);  // half-pixel centres
Var cast(Var x, DType dtype);
Var one_hot(Var index, std::int64_t classes);  // i64 {N} -> f32 {N, classes}

}  // namespace tapescope
