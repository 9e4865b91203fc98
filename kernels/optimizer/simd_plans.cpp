#include "kernels/optimizer/simd_plans.h"

#include <cmath>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/optimizer/simd.h"

namespace tapescope::simd {
namespace {

constexpr std::int64_t kGrain = 16 * 1024;  // elements per chunk of parallel work

const float* in(const Buffers& b, int k) { return static_cast<const float*>(b.in[k]); }
float* out(const Buffers& b, int k) { return static_cast<float*>(b.out[k]); }

}  // namespace

Plan sgd(const SgdShape& s) {
  return Plan(
      "simd", 0,
      [s, kernel = TAPESCOPE_ISA_TABLE(optimizer_kernels).sgd](const Queue&, const Buffers& b) {
        const SgdNumbers numbers{*in(b, 3), static_cast<float>(s.momentum),
                                 static_cast<float>(s.weight_decay), s.nesterov};
        const bool momentum = numbers.momentum != 0;
        const float *w = in(b, 0), *g = in(b, 1), *u = momentum ? in(b, 2) : w;
        float *next_w = out(b, 0), *next_u = momentum ? out(b, 1) : next_w;
        parallel_ranges(s.n, kGrain, [&](std::int64_t i, std::int64_t end) {
          kernel(end - i, numbers, w + i, g + i, u + i, next_w + i, next_u + i);
        });
      });
}

Plan adamw(const AdamwShape& s) {
  return Plan(
      "simd", 0,
      [s, kernel = TAPESCOPE_ISA_TABLE(optimizer_kernels).adamw](const Queue&, const Buffers& b) {
        const double lr = static_cast<double>(*in(b, 4));
        const double step = static_cast<double>(*static_cast<const std::int64_t*>(b.in[5]));
        const AdamwNumbers numbers{static_cast<float>(s.beta1),
                                   static_cast<float>(1 - s.beta1),
                                   static_cast<float>(s.beta2),
                                   static_cast<float>(1 - s.beta2),
                                   static_cast<float>(1 - lr * s.weight_decay),
                                   static_cast<float>(lr / (1 - std::pow(s.beta1, step))),
                                   static_cast<float>(1 / std::sqrt(1 - std::pow(s.beta2, step))),
                                   static_cast<float>(s.eps)};
        const float *w = in(b, 0), *g = in(b, 1), *m = in(b, 2), *v = in(b, 3);
        float *next_w = out(b, 0), *next_m = out(b, 1), *next_v = out(b, 2);
        parallel_ranges(s.n, kGrain, [&](std::int64_t i, std::int64_t end) {
          kernel(end - i, numbers, w + i, g + i, m + i, v + i, next_w + i, next_m + i, next_v + i);
        });
      });
}

}  // namespace tapescope::simd
