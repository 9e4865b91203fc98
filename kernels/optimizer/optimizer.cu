// Optimiser steps on a GPU, in rungs.
//
//   naive:      a thread an element
//   vectorized: a thread 16 bytes of every tensor. AdamW moves seven floats an element, so memory
//   is
//               all that matters.
//
// What depends on the step only (AdamW's bias corrections) is computed once a block, in double.
#include "kernels/optimizer/optimizer.h"

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

struct Sgd {
  float momentum, decay;
  bool nesterov;
};

// w, g, u, next_w, next_u: {n}; u and next_u may be null where there is no momentum. lr: {}
template <int Width>
__global__ void sgd(const float* w, const float* g, const float* u, const float* lr, float* next_w,
                    float* next_u, std::int64_t n, Sgd s) {
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (at >= n) return;
  const auto weight = load_pack<float, Width>(w + at), gradient = load_pack<float, Width>(g + at);
  Pack<float, Width> velocity = {}, next;
  if (s.momentum != 0) velocity = load_pack<float, Width>(u + at);
  const float rate = *lr;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    float direction = gradient[k] + s.decay * weight[k];
    if (s.momentum != 0) {
      velocity[k] = s.momentum * velocity[k] + direction;
      direction = s.nesterov ? direction + s.momentum * velocity[k] : velocity[k];
    }
    next[k] = weight[k] - rate * direction;
  }
  if (s.momentum != 0) store_pack(next_u + at, velocity);
  store_pack(next_w + at, next);
}

struct Adamw {
  double beta1, beta2, eps, weight_decay;
};
struct Corrections {
  float shrink, rate, root;
};

// w, g, m, v, next_w, next_m, next_v: {n}; lr, step: {}
template <int Width>
__global__ void adamw(const float* w, const float* g, const float* m, const float* v,
                      const float* lr, const std::int64_t* step, float* next_w, float* next_m,
                      float* next_v, std::int64_t n, Adamw s) {
  TAPESCOPE_SHARED(Corrections, corrections, [1]);
  if (threadIdx.x == 0) {
    const double t = static_cast<double>(*step), rate = static_cast<double>(*lr);
    corrections[0] = {static_cast<float>(1 - rate * s.weight_decay),
                      static_cast<float>(rate / (1 - pow(s.beta1, t))),
                      static_cast<float>(sqrt(1 - pow(s.beta2, t)))};
  }
  __syncthreads();
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (at >= n) return;
  const Corrections c = corrections[0];
  const float beta1 = static_cast<float>(s.beta1), rest1 = static_cast<float>(1 - s.beta1);
  const float beta2 = static_cast<float>(s.beta2), rest2 = static_cast<float>(1 - s.beta2);
  const float eps = static_cast<float>(s.eps);
  auto weight = load_pack<float, Width>(w + at);
  auto first = load_pack<float, Width>(m + at), second = load_pack<float, Width>(v + at);
  const auto gradient = load_pack<float, Width>(g + at);
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    first[k] = beta1 * first[k] + rest1 * gradient[k];
    second[k] = beta2 * second[k] + rest2 * gradient[k] * gradient[k];
    weight[k] = c.shrink * weight[k] - c.rate * first[k] / (sqrt(second[k]) / c.root + eps);
  }
  store_pack(next_w + at, weight);
  store_pack(next_m + at, first);
  store_pack(next_v + at, second);
}

// --- host
// ------------------------------------------------------------------------------------------

// Whether every pointer of a list can be read in packs of four floats, null ones aside.
bool all_aligned(const void* const* pointers, int count) {
  for (int i = 0; i < count; ++i) {
    if (pointers[i] != nullptr && !aligned(pointers[i], 16)) return false;
  }
  return true;
}

template <bool wide>
Plan prepare_sgd(const SgdShape& s) {
  const Sgd values{static_cast<float>(s.momentum), static_cast<float>(s.weight_decay), s.nesterov};
  return Plan(wide ? "vectorized" : "naive", 0,
              [values, n = s.n](const Queue& queue, const Buffers& b) {
                if (n == 0) return;
                const float *w = static_cast<const float*>(b.in[0]),
                            *g = static_cast<const float*>(b.in[1]),
                            *u = static_cast<const float*>(b.in[2]),
                            *lr = static_cast<const float*>(b.in[3]);
                float *next_w = static_cast<float*>(b.out[0]),
                      *next_u = values.momentum != 0 ? static_cast<float*>(b.out[1]) : nullptr;
                const void* pointers[] = {w, g, values.momentum != 0 ? u : nullptr, next_w, next_u};
                if (wide && n % 4 == 0 && all_aligned(pointers, 5)) {
                  launch<sgd<4>>(queue, blocks_for(n / 4, kThreads), kThreads, 0, w, g, u, lr,
                                 next_w, next_u, n, values);
                } else {
                  launch<sgd<1>>(queue, blocks_for(n, kThreads), kThreads, 0, w, g, u, lr, next_w,
                                 next_u, n, values);
                }
              });
}

template <bool wide>
Plan prepare_adamw(const AdamwShape& s) {
  const Adamw values{s.beta1, s.beta2, s.eps, s.weight_decay};
  return Plan(wide ? "vectorized" : "naive", 0,
              [values, n = s.n](const Queue& queue, const Buffers& b) {
                if (n == 0) return;
                const auto in = [&](int k) { return static_cast<const float*>(b.in[k]); };
                const auto out = [&](int k) { return static_cast<float*>(b.out[k]); };
                const auto* step = static_cast<const std::int64_t*>(b.in[5]);
                const void* pointers[] = {in(0), in(1), in(2), in(3), out(0), out(1), out(2)};
                if (wide && n % 4 == 0 && all_aligned(pointers, 7)) {
                  launch<adamw<4>>(queue, blocks_for(n / 4, kThreads), kThreads, 0, in(0), in(1),
                                   in(2), in(3), in(4), step, out(0), out(1), out(2), n, values);
                } else {
                  launch<adamw<1>>(queue, blocks_for(n, kThreads), kThreads, 0, in(0), in(1), in(2),
                                   in(3), in(4), step, out(0), out(1), out(2), n, values);
                }
              });
}

constexpr DTypes kDTypes{DType::f32};
constexpr std::string_view kWideNote = "a thread 16 bytes of every tensor";
constexpr std::string_view kNaiveNote = "a thread an element";

}  // namespace

std::span<const Variant<SgdShape>> sgd_variants() {
  static constexpr Variant<SgdShape> table[] = {
      {{"sgd", "vectorized", kDevice, kDTypes, 2, kWideNote, ""}, prepare_sgd<true>},
      {{"sgd", "naive", kDevice, kDTypes, 2, kNaiveNote, ""}, prepare_sgd<false>},
  };
  return table;
}

std::span<const Variant<AdamwShape>> adamw_variants() {
  static constexpr Variant<AdamwShape> table[] = {
      {{"adamw", "vectorized", kDevice, kDTypes, 2, kWideNote, ""}, prepare_adamw<true>},
      {{"adamw", "naive", kDevice, kDTypes, 2, kNaiveNote, ""}, prepare_adamw<false>},
  };
  return table;
}

}  // namespace tapescope::TAPESCOPE_GPU
