// One parameter's step of an optimiser. Every output may be the input it replaces.
//
//   sgd (PyTorch's SGD, dampening 0), with u the momentum buffer:
//       g' = g + weight_decay * w;  u' = momentum * u + g'
//       w' = w - lr * (nesterov ? g' + momentum * u' : u')
//     A buffer of zeros before the first step gives PyTorch's first step.
//   adamw (Loshchilov and Hutter, 2019, as in PyTorch), t the step, counted from 1:
//       w1 = w - lr * weight_decay * w
//       m' = beta1 m + (1 - beta1) g;  v' = beta2 v + (1 - beta2) g^2
//       w' = w1 - lr * (m' / (1 - beta1^t)) / (sqrt(v' / (1 - beta2^t)) + eps)
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct SgdShape {
  DType dtype = DType::f32;
  std::int64_t n = 0;
  double momentum = 0;  // 0: the momentum buffer is neither read nor written and may be null
  bool nesterov = false;
  double weight_decay = 0;
  bool can_halt = false;  // on a GPU, an operand behind the others: kernels/optimizer/many.h
};
// in: w {n}, g {n}, u {n} or null, lr {}    out: w' {n}, u' {n} or null. All of one dtype.
Variants<SgdShape> sgd_variants();

struct AdamwShape {
  DType dtype = DType::f32;
  std::int64_t n = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
  bool can_halt = false;
};
// in: w {n}, g {n}, m {n}, v {n}, lr {}, step {} i64    out: w' {n}, m' {n}, v' {n}
Variants<AdamwShape> adamw_variants();

}  // namespace tapescope
