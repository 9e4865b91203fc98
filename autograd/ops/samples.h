// Short spellings for the operands of samples.
#pragma once

#include "autograd/op.h"

namespace tapescope {

inline OperandSpec operand(Shape shape, OperandSpec::Values values) {
  return {{DType::f32, shape}, values};
}
inline OperandSpec normal(Shape shape) { return operand(shape, OperandSpec::Values::normal); }
inline OperandSpec index(Shape shape, std::int64_t bound) {
  return {{DType::i64, shape}, OperandSpec::Values::index, bound};
}
// The leading axis of this operand is not the batch.
inline OperandSpec fixed_extent(OperandSpec spec) {
  spec.batched = false;
  return spec;
}
// One number per channel {C}, f32 where the data are bf16.
inline OperandSpec per_channel(OperandSpec spec) {
  spec.batched = false;
  spec.wide = true;
  return spec;
}

}  // namespace tapescope
