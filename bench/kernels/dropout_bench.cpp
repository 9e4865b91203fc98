// Dropout: the speed of Philox, per element.
#include "bench/kernels/kernel_bench.h"
#include "kernels/dropout/dropout.h"

namespace tapescope {
namespace {

void dropout(benchmark::State& state, const char* variant) {
  const DropoutShape s{DType::f32, 16, state.range(0), 0.5, 42};
  bench::measure(state, bench::prepare(dropout_variants(), variant, s),
                 {s.rows * s.row_elements, 2}, {s.rows * s.row_elements});
}

BENCHMARK_CAPTURE(dropout, simd, "simd")->Arg(1024)->Arg(1 << 20);
BENCHMARK_CAPTURE(dropout, reference, "reference")->Arg(1024);

}  // namespace
}  // namespace tapescope
