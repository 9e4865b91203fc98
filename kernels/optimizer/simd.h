// Optimiser steps over floats, once per instruction set. Outputs may be the inputs they replace.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

struct SgdNumbers {
  float lr, momentum, weight_decay;
  bool nesterov;
};

// The numbers of one AdamW step: w' = shrink * w - rate * m' / (sqrt(v') * root + eps).
struct AdamwNumbers {
  float beta1, rest1, beta2, rest2, shrink, rate, root, eps;
};

struct OptimizerKernels {
  // w, g, u, next_w, next_u: {n}; u and next_u null where momentum is 0
  void (*sgd)(std::int64_t n, const SgdNumbers& numbers, const float* w, const float* g,
              const float* u, float* next_w, float* next_u);
  // w, g, m, v, next_w, next_m, next_v: {n}
  void (*adamw)(std::int64_t n, const AdamwNumbers& numbers, const float* w, const float* g,
                const float* m, const float* v, float* next_w, float* next_m, float* next_v);
};
TAPESCOPE_DECLARE_ISA_TABLE(OptimizerKernels, optimizer_kernels)

}  // namespace tapescope
