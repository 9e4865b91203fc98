// What the two tables of element-wise ops say of a function, and how its op is recorded.
#pragma once

#include "autograd/op.h"
#include "autograd/ops/ops.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {

Var record_unary(Unary function, Var x, double p0 = 0, double p1 = 0);
Var record_binary(Binary function, Var a, Var b, double p0 = 0, double p1 = 0);

// What flows to a broadcast operand is summed back to its shape. Shapes that are equal only
// because the batch holds one sample are summed as well: the Program may run with more.
Var back_to(Var gradient, Var operand);

constexpr auto kMonotone = RelevanceClass::monotone;
constexpr auto kLinear = RelevanceClass::linear;
constexpr auto kStop = RelevanceClass::stop;

struct UnaryEntry {
  Unary function;
  RelevanceClass relevance;
  bool nonnegative;
  OperandSpec::Values values;  // what the harness feeds it: inside its domain, away from its kinks
  // The cotangent of x given those of y; null where the derivative is zero everywhere.
  Var (*vjp)(Var dy, Var x, Var y, double p0, double p1);
  double p0 = 0, p1 = 0;  // parameters of the harness's sample
};

struct BinaryEntry {
  Binary function;
  RelevanceClass relevance;  // with both operands active; with one, `add`-like ops are linear
  bool second_fixed;         // the second operand has no derivative: a mask
  OperandSpec::Values first, second;
  void (*vjp)(Vjp& v, Var dy, Var a, Var b, double p0, double p1);
  double p0 = 0, p1 = 0;
};

// The gradients of activations f are linear in their first operand, so its cotangent is the same op
// on the incoming one; `second` appends that of the second operand from t = (incoming * first).
template <Binary function>
void gradient_vjp(Vjp& v, Var dy, Var b, double p0, Var (*second)(Var t, Var b, double p0)) {
  if (v.wants(0)) v.give(0, back_to(record_binary(function, dy, b, p0), v.operand(0)));
  if (v.wants(1)) v.give(1, back_to(second(mul(dy, v.operand(0)), b, p0), b));
}

// The entries of ops/elementwise.cpp, and of more_ops/functions.cpp: together one for every
// function, or neither file compiles.
constexpr int kFirstUnary = 6, kFirstBinary = 10;
extern const UnaryEntry more_unary[kUnaryFunctions - kFirstUnary];
extern const BinaryEntry more_binary[kBinaryFunctions - kFirstBinary];

}  // namespace tapescope
