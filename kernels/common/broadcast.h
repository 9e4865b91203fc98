// NumPy broadcasting: shapes are aligned at their last axis, and an axis that is missing or of
// extent 1 is repeated.
#pragma once

#include <array>
#include <span>

#include "engine/type.h"

namespace tapescope {

// The shape of `a (+) b`. Throws a usage error naming both where an axis differs and is not 1.
Shape broadcast_shape(const Shape& a, const Shape& b);

// Whether repeating `from` along missing and extent-1 axes gives `to`.
bool broadcasts_to(const Shape& from, const Shape& to);

// Loops over a row-major result, merged where neighbouring axes allow it: at most one axis is left
// when nothing is repeated.
template <int Operands>
struct BroadcastLoops {
  int rank = 0;
  std::array<std::int64_t, Shape::kMaxRank> extent{};
  // Elements by which operand k moves per step of an axis: 0 where it is repeated.
  std::array<std::array<std::int64_t, Shape::kMaxRank>, Operands> stride{};
};

// Each operand broadcasts to `out`; axes of extent 1 are dropped.
template <int Operands>
BroadcastLoops<Operands> broadcast_loops(const Shape& out,
                                         const std::array<const Shape*, Operands>& operands) {
  // Built from the last axis to the first, then reversed.
  BroadcastLoops<Operands> loops;
  std::array<std::int64_t, Operands> step;
  step.fill(1);
  for (int axis = out.rank() - 1; axis >= 0; --axis) {
    const auto extent = out[axis];
    std::array<std::int64_t, Operands> stride;
    bool merge = loops.rank > 0;
    const auto last = static_cast<std::size_t>(loops.rank - 1);
    for (std::size_t k = 0; k < Operands; ++k) {
      const Shape& shape = *operands[k];
      const int own = axis - out.rank() + shape.rank();
      const std::int64_t own_extent = own < 0 ? 1 : shape[own];
      stride[k] = own_extent == 1 ? 0 : step[k];
      step[k] *= own_extent;
      if (merge && stride[k] != loops.stride[k][last] * loops.extent[last]) merge = false;
    }
    if (extent == 1) continue;
    if (merge) {
      loops.extent[last] *= extent;
      continue;
    }
    const auto next = static_cast<std::size_t>(loops.rank++);
    loops.extent[next] = extent;
    for (std::size_t k = 0; k < Operands; ++k) loops.stride[k][next] = stride[k];
  }
  for (int i = 0, j = loops.rank - 1; i < j; ++i, --j) {
    const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(j);
    std::swap(loops.extent[a], loops.extent[b]);
    for (auto& stride : loops.stride) std::swap(stride[a], stride[b]);
  }
  return loops;
}

}  // namespace tapescope
