#include "kernels/common/broadcast.h"

#include <algorithm>

#include "engine/error.h"

namespace tapescope {

Shape broadcast_shape(const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  for (int axis = shorter.rank() - 1, at = longer.rank() - 1; axis >= 0; --axis, --at) {
    const std::int64_t x = longer[at], y = shorter[axis];
    if (x != y && x != 1 && y != 1) {
      throw usage_error(
          "shapes {} and {} cannot be broadcast together: aligned at the last axis, extents {} and "
          "{} differ and neither is 1; reshape one of the operands",
          to_string(a), to_string(b), x, y);
    }
    out[at] = x == 1 ? y : x;
  }
  return out;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int axis = from.rank() - 1, at = to.rank() - 1; axis >= 0; --axis, --at) {
    if (from[axis] != 1 && from[axis] != to[at]) return false;
  }
  return true;
}

}  // namespace tapescope
