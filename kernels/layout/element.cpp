#include "kernels/layout/element.h"

namespace tapescope {

void check(const PadShape& s) {
  for (int a = 0; a < s.in.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    if (s.before[i] < 0 || s.after[i] < 0) {
      throw usage_error("[pad] {} and {} elements around axis {} of {}: padding cannot be negative",
                        s.before[i], s.after[i], a, to_string(s.in));
    }
  }
}

void check(const SliceShape& s) {
  for (int a = 0; a < s.in.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    if (s.start[i] < 0 || s.stop[i] < s.start[i] || s.stop[i] > s.in[a]) {
      throw usage_error("[slice] elements {} to {} of axis {} do not exist in {}", s.start[i],
                        s.stop[i], a, to_string(s.in));
    }
  }
}

void check(const TransposeShape& s) {
  unsigned seen = 0;
  for (int a = 0; a < s.in.rank(); ++a) {
    const unsigned axis = s.permutation[static_cast<std::size_t>(a)];
    if (axis >= static_cast<unsigned>(s.in.rank()) || (seen >> axis & 1u) != 0) {
      throw usage_error(
          "[transpose] axis {} of the result of {} is axis {} of it, which {}", a, to_string(s.in),
          axis,
          axis >= static_cast<unsigned>(s.in.rank()) ? "does not exist" : "was already taken");
    }
    seen |= 1u << axis;
  }
}

}  // namespace tapescope
