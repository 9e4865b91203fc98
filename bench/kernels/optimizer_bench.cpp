// Optimiser steps: bytes of all state per second.
#include "bench/kernels/kernel_bench.h"
#include "kernels/optimizer/optimizer.h"

namespace tapescope {
namespace {

void sgd(benchmark::State& state, const char* variant) {
  const SgdShape s{DType::f32, state.range(0), 0.9, true, 5e-4};
  bench::measure(state, bench::prepare(sgd_variants(), variant, s), {s.n, s.n, s.n, 1}, {s.n, s.n});
}
void adamw(benchmark::State& state, const char* variant) {
  AdamwShape s;
  s.n = state.range(0);
  bench::measure(state, bench::prepare(adamw_variants(), variant, s), {s.n, s.n, s.n, s.n, 1, 2},
                 {s.n, s.n, s.n});
}

BENCHMARK_CAPTURE(sgd, simd, "simd")->Arg(1 << 14)->Arg(1 << 24);
BENCHMARK_CAPTURE(adamw, simd, "simd")->Arg(1 << 14)->Arg(1 << 24);
BENCHMARK_CAPTURE(adamw, reference, "reference")->Arg(1 << 14);

}  // namespace
}  // namespace tapescope
