// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/optimizer/simd.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

template <bool kMomentum, bool kNesterov>
void sgd_loop(std::int64_t n, const SgdNumbers& s, const float* w, const float* g, const float* u,
              float* next_w, float* next_u) {
  const float lr = s.lr, momentum = s.momentum, decay = s.weight_decay;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    float direction = g[i] + decay * w[i];
    if (kMomentum) {
      const float velocity = momentum * u[i] + direction;
      next_u[i] = velocity;
      direction = kNesterov ? direction + momentum * velocity : velocity;
    }
    next_w[i] = w[i] - lr * direction;
  }
}

void sgd(std::int64_t n, const SgdNumbers& s, const float* w, const float* g, const float* u,
         float* next_w, float* next_u) {
  if (s.momentum == 0.0f) {
    sgd_loop<false, false>(n, s, w, g, u, next_w, next_u);
  } else if (s.nesterov) {
    sgd_loop<true, true>(n, s, w, g, u, next_w, next_u);
  } else {
    sgd_loop<true, false>(n, s, w, g, u, next_w, next_u);
  }
}

void adamw(std::int64_t n, const AdamwNumbers& numbers, const float* w, const float* g,
           const float* m, const float* v, float* next_w, float* next_m, float* next_v) {
  const AdamwNumbers s = numbers;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float first = s.beta1 * m[i] + s.rest1 * g[i];
    const float second = s.beta2 * v[i] + s.rest2 * g[i] * g[i];
    next_m[i] = first;
    next_v[i] = second;
    next_w[i] = s.shrink * w[i] - s.rate * first / (__builtin_sqrtf(second) * s.root + s.eps);
  }
}

}  // namespace

const OptimizerKernels optimizer_kernels = {sgd, adamw};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
