// Kernels that move elements: pad, slice, concat, transpose.
#pragma once

#include <array>
#include <span>

#include "kernels/common/variant.h"

namespace tapescope {

using Extents = std::array<std::int64_t, Shape::kMaxRank>;

// y = x with before[a] elements in front of axis a and after[a] behind it, all equal to `value`.
struct PadShape {
  DType dtype = DType::f32;  // any
  Shape in;
  Extents before{}, after{};  // not negative
  double value = 0;
  Shape out() const {
    Shape shape = in;
    for (int a = 0; a < in.rank(); ++a) {
      const auto i = static_cast<std::size_t>(a);
      shape[a] += before[i] + after[i];
    }
    return shape;
  }
};
// in: x of shape `in`    out: y of shape out()
Variants<PadShape> pad_variants();

// y = x[start[0]:stop[0], start[1]:stop[1], ...]. The adjoint is pad with 0.
struct SliceShape {
  DType dtype = DType::f32;  // any
  Shape in;
  Extents start{}, stop{};  // 0 <= start <= stop <= extent
  Shape out() const {
    Shape shape = in;
    for (int a = 0; a < in.rank(); ++a) {
      const auto i = static_cast<std::size_t>(a);
      shape[a] = stop[i] - start[i];
    }
    return shape;
  }
};
// in: x of shape `in`    out: y of shape out()
Variants<SliceShape> slice_variants();

// The operands one behind the other along one axis: with `outer` the product of the extents in
// front of it and `inner` of those behind it, operand k is {outer, extents[k], inner}.
struct ConcatShape {
  DType dtype = DType::f32;  // any
  std::int64_t outer = 1, inner = 1;
  std::span<const std::int64_t> extents;  // one per operand; read by prepare only
};
// in: one pointer per operand    out: y {outer, sum of extents, inner}
Variants<ConcatShape> concat_variants();

// y[i_permutation[0], i_permutation[1], ...] = x[i_0, i_1, ...]: axis a of y is axis
// permutation[a] of x, as in NumPy.
struct TransposeShape {
  DType dtype = DType::f32;  // any
  Shape in;
  std::array<std::uint8_t, Shape::kMaxRank> permutation{};
  Shape out() const {
    Shape shape = in;
    for (int a = 0; a < in.rank(); ++a) {
      shape[a] = in[permutation[static_cast<std::size_t>(a)]];
    }
    return shape;
  }
};
// in: x of shape `in`    out: y of shape out()
Variants<TransposeShape> transpose_variants();

}  // namespace tapescope
