// What a window of the picture reaches of each feature map, as rectangles of one size.
#pragma once

#include <utility>
#include <vector>

#include "autograd/explain/perturbation.h"
#include "autograd/op.h"

namespace tapescope::explain {

// Along one axis, of a node: positions [window start / jump + begin, ... + size), the start rounded
// down to a multiple of all jumps.
struct Reach {
  std::int64_t jump = 1, begin = 0, size = 0;
  friend bool operator==(const Reach&, const Reach&) = default;
};
struct Patch {
  Reach y, x;
  friend bool operator==(const Patch&, const Patch&) = default;
};

// One axis of an op with a window; `extent` is that of the dilated kernel.
struct Span {
  std::int64_t extent = 1, stride = 1, pad = 0;
};
Span rows_of(const Footprint& footprint);
Span columns_of(const Footprint& footprint);

// The outputs that read any of these inputs, and the inputs that these outputs read.
Reach reached_by(const Reach& in, const Span& span);
Reach read_by(const Reach& out, const Span& span);
// Both of two rectangles in one map.
Reach hull(const Reach& a, const Reach& b);

// --- copying, on the CPU; of M windows, whose patches begin at `corners` of the picture
// The picture where the patches are, with each one's window of the baseline; 0 beyond the border.
// The windows are those from number `first`. -> {M*N,h,w,C}
Tensor occluded(const Tensor& x, const Tensor& baseline, const Windows& windows, int first,
                const std::vector<Corner>& corners, const Patch& patch);
// What stands around `inner` in `wanted`: the recorded map, 0 in `inner`, `fill` outside of the
// map, {M*N,h,w,C}; and 1 where `inner` counts, {M*N,h,w,1}.
std::pair<Tensor, Tensor> surroundings(const Tensor& map, const std::vector<Corner>& corners,
                                       const Patch& inner, const Patch& wanted, double fill);
// The recorded map {N,H,W,C}, once for each window, with the patch in its place.
Tensor pasted(const Tensor& map, const Tensor& patches, const std::vector<Corner>& corners,
              const Patch& patch);

}  // namespace tapescope::explain
