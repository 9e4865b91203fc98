// Functions applied element by element: of one tensor, and of two that broadcast.
//
//   unary:   y[i] = f(x[i]; p0, p1)
//   binary:  y[i] = f(a[i], b[i]; p0, p1), with a and b broadcast as NumPy does (aligned at the
//            last axis; axes that are missing or of extent 1 are repeated)
//
// What each function computes, its parameters and its VJPs: functions.inc.
#pragma once

#include <string_view>

#include "kernels/common/broadcast.h"
#include "kernels/common/variant.h"

namespace tapescope {

#define TAPESCOPE_BINARY(name, expression)
enum class Unary : std::uint8_t {
#define TAPESCOPE_UNARY(name, expression) name,
#include "kernels/elementwise/functions.inc"
};
#define TAPESCOPE_UNARY(name, expression)
enum class Binary : std::uint8_t {
#define TAPESCOPE_BINARY(name, expression) name,
#include "kernels/elementwise/functions.inc"
};
constexpr int kUnaryFunctions = 0
#define TAPESCOPE_UNARY(name, expression) +1
#define TAPESCOPE_BINARY(name, expression)
#include "kernels/elementwise/functions.inc"
    ;
constexpr int kBinaryFunctions = 0
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression) +1
#include "kernels/elementwise/functions.inc"
    ;

std::string_view name_of(Unary function);
std::string_view name_of(Binary function);

struct UnaryShape {
  DType dtype = DType::f32;
  Unary function = Unary::identity;
  std::int64_t n = 0;     // elements
  double p0 = 0, p1 = 0;  // the function's parameters, rounded to the dtype of the arithmetic
};

struct BinaryShape {
  DType dtype = DType::f32;
  Binary function = Binary::add;
  Shape a, b;
  double p0 = 0, p1 = 0;

  // Throws a usage error where a and b do not broadcast.
  Shape out() const { return broadcast_shape(a, b); }
};

// in: x, n elements    out: y, n elements; may be x itself
Variants<UnaryShape> unary_variants();
// in: a of shape `a`, b of shape `b`    out: y of shape out(); may be an operand of that shape
Variants<BinaryShape> binary_variants();

}  // namespace tapescope
