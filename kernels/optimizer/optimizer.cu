// Optimiser steps on a GPU, in rungs.
//
//   naive:      one thread per element
//   vectorized: 16 bytes per thread of every tensor. AdamW moves seven floats per element, so
//               memory is all that matters.
//
// What an element becomes is in update.h; many.cu does all parameters in one launch.
#include "kernels/optimizer/optimizer.h"

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"
#include "kernels/optimizer/update.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// w, g, u, next_w, next_u: {n}; u and next_u may be null where there is no momentum. lr: {}
template <int Width>
__global__ void sgd(const float* w, const float* g, const float* u, const float* lr, float* next_w,
                    float* next_u, std::int64_t n, Sgd s, const std::int64_t* halted) {
  if (halted != nullptr && *halted != 0) return;
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (at >= n) return;
  auto weight = load_pack<float, Width>(w + at);
  const auto gradient = load_pack<float, Width>(g + at);
  Pack<float, Width> velocity = {};
  if (s.momentum != 0) velocity = load_pack<float, Width>(u + at);
  const float rate = *lr;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) sgd_element(weight[k], gradient[k], &velocity[k], rate, s);
  if (s.momentum != 0) store_pack(next_u + at, velocity);
  store_pack(next_w + at, weight);
}

// w, g, m, v, next_w, next_m, next_v: {n}; lr, step: {}
template <int Width>
__global__ void adamw(const float* w, const float* g, const float* m, const float* v,
                      const float* lr, const std::int64_t* step, float* next_w, float* next_m,
                      float* next_v, std::int64_t n, Adamw s, const std::int64_t* halted) {
  if (halted != nullptr && *halted != 0) return;
  TAPESCOPE_SHARED(AdamwStep, now, [1]);
  if (threadIdx.x == 0) now[0] = adamw_step(s, *lr, *step);
  __syncthreads();
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (at >= n) return;
  auto weight = load_pack<float, Width>(w + at);
  auto first = load_pack<float, Width>(m + at), second = load_pack<float, Width>(v + at);
  const auto gradient = load_pack<float, Width>(g + at);
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    adamw_element(weight[k], gradient[k], first[k], second[k], now[0]);
  }
  store_pack(next_w + at, weight);
  store_pack(next_m + at, first);
  store_pack(next_v + at, second);
}

// --- host ---

// Whether every pointer of a list can be read in packs of four floats, null ones aside.
bool all_aligned(const void* const* pointers, int count) {
  for (int i = 0; i < count; ++i) {
    if (pointers[i] != nullptr && !aligned(pointers[i], 16)) return false;
  }
  return true;
}

template <bool wide>
Plan prepare_sgd(const SgdShape& s) {
  const Sgd values = sgd_of(s);
  return Plan(wide ? "vectorized" : "naive", 0,
              [values, n = s.n, can_halt = s.can_halt](const Queue& queue, const Buffers& b) {
                if (n == 0) return;
                const auto* halted = halted_of(b, can_halt ? 4 : -1);
                const float *w = static_cast<const float*>(b.in[0]),
                            *g = static_cast<const float*>(b.in[1]),
                            *u = static_cast<const float*>(b.in[2]),
                            *lr = static_cast<const float*>(b.in[3]);
                float *next_w = static_cast<float*>(b.out[0]),
                      *next_u = values.momentum != 0 ? static_cast<float*>(b.out[1]) : nullptr;
                const void* pointers[] = {w, g, values.momentum != 0 ? u : nullptr, next_w, next_u};
                if (wide && n % 4 == 0 && all_aligned(pointers, 5)) {
                  launch<sgd<4>>(queue, blocks_for(n / 4, kThreads), kThreads, 0, w, g, u, lr,
                                 next_w, next_u, n, values, halted);
                } else {
                  launch<sgd<1>>(queue, blocks_for(n, kThreads), kThreads, 0, w, g, u, lr, next_w,
                                 next_u, n, values, halted);
                }
              });
}

template <bool wide>
Plan prepare_adamw(const AdamwShape& s) {
  const Adamw values = adamw_of(s);
  return Plan(wide ? "vectorized" : "naive", 0,
              [values, n = s.n, can_halt = s.can_halt](const Queue& queue, const Buffers& b) {
                if (n == 0) return;
                const auto* halted = halted_of(b, can_halt ? 6 : -1);
                const auto in = [&](int k) { return static_cast<const float*>(b.in[k]); };
                const auto out = [&](int k) { return static_cast<float*>(b.out[k]); };
                const auto* step = static_cast<const std::int64_t*>(b.in[5]);
                const void* pointers[] = {in(0), in(1), in(2), in(3), out(0), out(1), out(2)};
                if (wide && n % 4 == 0 && all_aligned(pointers, 7)) {
                  launch<adamw<4>>(queue, blocks_for(n / 4, kThreads), kThreads, 0, in(0), in(1),
                                   in(2), in(3), in(4), step, out(0), out(1), out(2), n, values,
                                   halted);
                } else {
                  launch<adamw<1>>(queue, blocks_for(n, kThreads), kThreads, 0, in(0), in(1), in(2),
                                   in(3), in(4), step, out(0), out(1), out(2), n, values, halted);
                }
              });
}

constexpr DTypes kDTypes{DType::f32};
constexpr std::string_view kWideNote = "16 bytes per thread of every tensor";
constexpr std::string_view kNaiveNote = "one thread per element";

}  // namespace

Rows<SgdShape> sgd_variants() {
  static constexpr Variant<SgdShape> rows[] = {
      {.name = "vectorized",
       .dtypes = kDTypes,
       .error_factor = 2,
       .note = kWideNote,
       .prepare = prepare_sgd<true>},
      {.name = "naive",
       .dtypes = kDTypes,
       .error_factor = 2,
       .note = kNaiveNote,
       .prepare = prepare_sgd<false>},
  };
  return rows;
}

Rows<AdamwShape> adamw_variants() {
  static constexpr Variant<AdamwShape> rows[] = {
      {.name = "vectorized",
       .dtypes = kDTypes,
       .error_factor = 2,
       .note = kWideNote,
       .prepare = prepare_adamw<true>},
      {.name = "naive",
       .dtypes = kDTypes,
       .error_factor = 2,
       .note = kNaiveNote,
       .prepare = prepare_adamw<false>},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
