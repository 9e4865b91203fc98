#include "autograd/more_ops/precision.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

Var lowered(Var x) { return x && x.dtype() == DType::f32 ? x.tape().lowered(x) : x; }

Var widened(Var x) { return x ? cast(x, wide(x.dtype())) : x; }

Var Tape::lowered(Var x) {
  if (precision().dtype == DType::f32) return x;
  const std::pair place(x.node->index, x.output);
  if (auto it = lowered_.find(place); it != lowered_.end()) return it->second;
  const Var down = cast(x, precision().dtype);
  lowered_.emplace(place, down);
  return down;
}

Var Vjp::cotangent(int output) const {
  const Var arrived = cotangents_[static_cast<std::size_t>(output)];
  return arrived ? cast(arrived, node_.type_data[output].dtype) : arrived;
}

void meet(Var& a, Var& b) {
  if (!a || !b || a.dtype() == b.dtype()) return;
  if (wide(a.dtype()) != DType::f32 || wide(b.dtype()) != DType::f32) return;  // infer's to report
  Var& f32 = a.dtype() == DType::f32 ? a : b;
  Var& bf16 = a.dtype() == DType::f32 ? b : a;
  if ((f32.node->op->is_leaf() && !f32.node->batched) || f32.shape().rank() == 0) {
    f32 = cast(f32, DType::bf16);
  } else {
    bf16 = cast(bf16, DType::f32);
  }
}

}  // namespace tapescope
