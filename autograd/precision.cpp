#include "autograd/precision.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

Var lowered(Var x) { return x && x.dtype() == DType::f32 ? x.tape().lowered(x) : x; }

Var widened(Var x) { return x ? cast(x, wide(x.dtype())) : x; }

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
