// The optimiser steps of many parameters in one launch. A network has dozens of small parameters
// (biases, norms), and a launch each costs more than the work.
//
// In place: what a step replaces is where its result goes. For GPUs; Programs join neighbouring
// steps where the table has a variant (autograd/program/specialise.cpp).
//
// Steps that can halt (SgdShape::can_halt) have one operand more, halted {} i64: where it is not 0
// nothing is written. So the host need not know whether the loss is finite to ask for them.
#pragma once

#include <span>

#include "kernels/optimizer/optimizer.h"

namespace tapescope {

// Tensor k's pointers are those of one step (optimizer.h), `pitch` pointers behind tensor k - 1's:
// in[k * pitch] is its w. All read one learning rate (and step), that of tensor 0; momentum and
// betas are those of tensor 0 too, n and weight decay are each tensor's own.
struct SgdManyShape {
  std::span<const SgdShape> tensors;  // read by prepare only
  std::int64_t pitch = 0;
};
struct AdamwManyShape {
  std::span<const AdamwShape> tensors;
  std::int64_t pitch = 0;
};
// Families "sgd_many" and "adamw_many": in the tables of GPU devices only.

// Of a guard, which stays not 0 once it is: halted' = halted, or 1 where x is not finite.
struct HaltShape {
  DType dtype = DType::f32;  // of x
};
// in: x {}, halted {} i64    out: halted' {} i64; may be the old one
// Family "halt": in the tables of GPU devices only.

}  // namespace tapescope
