#include "kernels/pool2d/pool2d.h"

#include "bench/kernels/kernel_bench.h"

namespace tapescope {
namespace {

Pool2dShape shape_of(const benchmark::State& state) {
  Pool2dShape s;
  s.N = state.range(0), s.C = state.range(1);
  s.H = s.W = state.range(2);
  s.KH = s.KW = state.range(3);
  s.stride_h = s.stride_w = 2;
  s.pad_h = s.pad_w = (s.KH - 1) / 2;
  return s;
}

// Bytes are counted at four an element, the places among them.
void max_forward(benchmark::State& state, const char* variant) {
  const Pool2dShape s = shape_of(state);
  const std::int64_t out = s.N * s.P() * s.Q() * s.C;
  bench::measure(state, bench::prepare(max_pool2d_variants(), variant, s), {s.N * s.H * s.W * s.C},
                 {out, out / 4});
}
void max_scatter(benchmark::State& state, const char* variant) {
  const Pool2dShape s = shape_of(state);
  const std::int64_t out = s.N * s.P() * s.Q() * s.C;
  const Plan plan = bench::prepare(max_pool2d_scatter_variants(), variant, s);
  const bench::Memory dy(static_cast<std::size_t>(out) * 4), k(static_cast<std::size_t>(out)),
      dx(static_cast<std::size_t>(s.N * s.H * s.W * s.C) * 4), workspace(plan.workspace_bytes());
  PhiloxStream random(1);
  const auto places = static_cast<float>(s.KH * s.KW);
  for (std::int64_t i = 0; i < out; ++i) {
    static_cast<std::uint8_t*>(k.data())[i] = static_cast<std::uint8_t>(random.uniform() * places);
  }
  const void* in[] = {dy.data(), k.data()};
  void* outputs[] = {dx.data()};
  for (auto _ : state) {
    plan.run(Queue(Device::cpu()), Buffers{in, outputs, workspace.data()});
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * (5 * out + 4 * s.N * s.H * s.W * s.C));
}
void avg_forward(benchmark::State& state, const char* variant) {
  const Pool2dShape s = shape_of(state);
  bench::measure(state, bench::prepare(avg_pool2d_variants(), variant, s), {s.N * s.H * s.W * s.C},
                 {s.N * s.P() * s.Q() * s.C});
}
void avg_gradient(benchmark::State& state, const char* variant) {
  const Pool2dShape s = shape_of(state);
  bench::measure(state, bench::prepare(avg_pool2d_gradient_variants(), variant, s),
                 {s.N * s.P() * s.Q() * s.C}, {s.N * s.H * s.W * s.C});
}

void shapes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "C", "H", "K"});
  b->Args({64, 32, 28, 2})->Args({64, 6, 28, 2})->Args({8, 64, 112, 3})->MeasureProcessCPUTime();
}
BENCHMARK_CAPTURE(max_forward, simd, "simd")->Apply(shapes);
BENCHMARK_CAPTURE(max_forward, reference, "reference")->Apply(shapes);
BENCHMARK_CAPTURE(max_scatter, simd, "simd")->Apply(shapes);
BENCHMARK_CAPTURE(avg_forward, simd, "simd")->Apply(shapes);
BENCHMARK_CAPTURE(avg_gradient, simd, "simd")->Apply(shapes);

}  // namespace
}  // namespace tapescope
