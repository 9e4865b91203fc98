// One element's optimiser step on a GPU: shared by the kernels of one tensor and of many, so that
// both give the same bits. See optimizer.h for the equations.
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/optimizer/optimizer.h"

namespace tapescope::TAPESCOPE_GPU {

struct Sgd {
  float momentum, decay;
  bool nesterov;
};
inline Sgd sgd_of(const SgdShape& s) {
  return {static_cast<float>(s.momentum), static_cast<float>(s.weight_decay), s.nesterov};
}
// Replaces w and, where there is momentum, the velocity u; u may be null where there is none.
__device__ __forceinline__ void sgd_element(float& w, float g, float* u, float lr, const Sgd& s) {
  float direction = g + s.decay * w;
  if (s.momentum != 0) {
    *u = s.momentum * *u + direction;
    direction = s.nesterov ? direction + s.momentum * *u : *u;
  }
  w = w - lr * direction;
}

struct Adamw {
  double beta1, beta2, eps, weight_decay;
};
inline Adamw adamw_of(const AdamwShape& s) { return {s.beta1, s.beta2, s.eps, s.weight_decay}; }
// What depends on the step and not on the element: computed once per block, in double.
struct AdamwStep {
  float shrink, rate, root, beta1, rest1, beta2, rest2, eps;
};
__device__ __forceinline__ AdamwStep adamw_step(const Adamw& s, float lr, std::int64_t step) {
  const double t = static_cast<double>(step), rate = static_cast<double>(lr);
  return {static_cast<float>(1 - rate * s.weight_decay),
          static_cast<float>(rate / (1 - pow(s.beta1, t))),
          static_cast<float>(sqrt(1 - pow(s.beta2, t))),
          static_cast<float>(s.beta1),
          static_cast<float>(1 - s.beta1),
          static_cast<float>(s.beta2),
          static_cast<float>(1 - s.beta2),
          static_cast<float>(s.eps)};
}
// Replaces w, m and v.
__device__ __forceinline__ void adamw_element(float& w, float g, float& m, float& v,
                                              const AdamwStep& now) {
  m = now.beta1 * m + now.rest1 * g;
  v = now.beta2 * v + now.rest2 * g * g;
  w = now.shrink * w - now.rate * m / (sqrt(v) / now.root + now.eps);
}

// Operand k of a step that can halt; null where k is negative, since the step cannot.
inline const std::int64_t* halted_of(const Buffers& b, int k) {
  return k < 0 ? nullptr : static_cast<const std::int64_t*>(b.in[k]);
}

}  // namespace tapescope::TAPESCOPE_GPU
