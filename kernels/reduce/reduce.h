// Sum, mean and maximum over some axes, and the way back: repetition along axes.
//
//   reduce:         y[kept] = sum / mean / max over the reduced axes of x
//   broadcast_like: y[i]    = scale * x[i with the repeated axes at 0]
//
// The sum over an axis set and the broadcast along it are each other's adjoint. Sums are taken in
// blocks whose size depends on the shape without axis 0 where that is kept: one row's result
// depends neither on how many rows there are nor on the number of threads.
#pragma once

#include "kernels/common/broadcast.h"
#include "kernels/common/variant.h"

namespace tapescope {

enum class Reduction : std::uint8_t { sum, mean, max };
std::string_view name_of(Reduction reduction);

// A mean or maximum of no elements is NaN; a sum of none is 0. A NaN among the elements makes the
// maximum NaN.
struct ReduceShape {
  DType dtype = DType::f32;
  Reduction op = Reduction::sum;
  Shape in;
  std::uint32_t axes = 0;  // bit a: axis a is reduced
  bool wide = false;       // of bf16: y is f32

  // `in` with extent 1 in place of each reduced axis.
  Shape out() const {
    Shape shape = in;
    for (int axis = 0; axis < in.rank(); ++axis) {
      if (axes >> axis & 1u) shape[axis] = 1;
    }
    return shape;
  }
  // Number of elements that make one result.
  std::int64_t count() const {
    std::int64_t n = 1;
    for (int axis = 0; axis < in.rank(); ++axis) {
      if (axes >> axis & 1u) n *= in[axis];
    }
    return n;
  }
};

constexpr std::uint32_t all_axes(int rank) { return (1u << rank) - 1u; }
// The axes of `in` that have to be reduced to come down to `like`, which broadcasts to `in`.
// Throws a usage error where it does not.
std::uint32_t reduced_axes(const Shape& in, const Shape& like);

struct BroadcastShape {
  DType dtype = DType::f32;
  Shape in, out;     // `in` broadcasts to `out`
  double scale = 1;  // 1 / count makes it the adjoint of the mean
};

// in: x of shape `in`    out: y, out().elements() elements. f32, f64, bf16.
Variants<ReduceShape> reduce_variants();
// in: x of shape `in`    out: y of shape `out`
Variants<BroadcastShape> broadcast_like_variants();

}  // namespace tapescope
