#include "kernels/matmul/matmul.h"

#include "bench/kernels/kernel_bench.h"

namespace tapescope {
namespace {

void run(benchmark::State& state, const char* variant) {
  const MatmulShape s{DType::f32,     false,          state.range(3) != 0, state.range(4) != 0,
                      state.range(0), state.range(1), state.range(2)};
  bench::measure(state, bench::prepare(matmul_variants(), variant, s), {s.M * s.K, s.K * s.N},
                 {s.M * s.N});
  const double flops = 2.0 * static_cast<double>(s.M) * static_cast<double>(s.N * s.K);
  state.counters["FLOP/s"] = benchmark::Counter(flops * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "N", "K", "ta", "tb"});
  b->Args({1024, 1024, 1024, 0, 0});
  b->Args({1024, 1024, 1024, 1, 1});
  b->Args({128, 10, 1024, 0, 1});   // a classifier's head: forward,
  b->Args({128, 1024, 10, 0, 0});   // gradient of its input
  b->Args({10, 1024, 128, 1, 0});   // and of its weights
  b->Args({128, 512, 3136, 0, 1});  // the fully connected layer behind a flattened map
  b->Args({512, 3136, 128, 1, 0});
  b->Args({1, 1000, 512, 0, 1});   // one sample
  b->Args({50000, 64, 27, 0, 0});  // an unfolded first convolution
  b->MeasureProcessCPUTime();
}
BENCHMARK_CAPTURE(run, matmul_simd, "simd")->Apply(shapes);

}  // namespace
}  // namespace tapescope
