#include "kernels/reduce/reduce.h"

namespace tapescope {

std::string_view name_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::sum:
      return "sum";
    case Reduction::mean:
      return "mean";
    case Reduction::max:
      return "max";
  }
  return "?";
}

std::uint32_t reduced_axes(const Shape& in, const Shape& like) {
  if (!broadcasts_to(like, in)) {
    throw usage_error(
        "[reduce_like] {} cannot be reduced to {}: aligned at the last axis, each extent of the "
        "second must be 1 or that of the first",
        to_string(in), to_string(like));
  }
  std::uint32_t axes = 0;
  for (int axis = 0; axis < in.rank(); ++axis) {
    const int own = axis - in.rank() + like.rank();
    if (own < 0 || (like[own] == 1 && in[axis] != 1)) axes |= 1u << axis;
  }
  return axes;
}

}  // namespace tapescope
