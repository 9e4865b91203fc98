// What the tape costs beside its kernels: nanoseconds a node for recording and for replaying.
#include <benchmark/benchmark.h>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

constexpr int kChain = 1000;

void per_node(benchmark::State& state) {
  state.counters["ns_per_node"] =
      benchmark::Counter(static_cast<double>(kChain * state.iterations()) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// The kernel alone: an addition of eight floats, prepared once.
void kernel_only(benchmark::State& state) {
  const BinaryShape shape{DType::f32, Binary::add, {8}, {8}};
  const Plan plan = prepare_from(binary_variants(), shape, DType::f32, Backend{});
  const Tensor x = Tensor::full({DType::f32, {8}}, 1);
  Tensor y({DType::f32, {8}});
  const void* in[] = {x.data(), x.data()};
  void* out[] = {y.data()};
  const Queue queue(Device::cpu());
  for (auto _ : state) {
    for (int i = 0; i < kChain; ++i) plan.run(queue, {in, out, nullptr});
    benchmark::DoNotOptimize(y.data());
  }
  per_node(state);
}
BENCHMARK(kernel_only);

void record_eager(benchmark::State& state) {
  for (auto _ : state) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", Tensor::full({DType::f32, {8}}, 1));
    Var y = x;
    for (int i = 0; i < kChain; ++i) y = add(y, x);
    benchmark::DoNotOptimize(y);
  }
  per_node(state);
}
BENCHMARK(record_eager);

void record_symbolic(benchmark::State& state) {
  for (auto _ : state) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", DType::f32, {8});
    Var y = x;
    for (int i = 0; i < kChain; ++i) y = add(y, x);
    benchmark::DoNotOptimize(y);
  }
  per_node(state);
}
BENCHMARK(record_symbolic);

void replay(benchmark::State& state) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {8});
  Var y = x;
  for (int i = 0; i < kChain; ++i) y = add(y, x);
  Program program = tape.compile({y});
  const Tensor value = Tensor::full({DType::f32, {8}}, 1);
  for (auto _ : state) benchmark::DoNotOptimize(program.run({{"x", value}}));
  per_node(state);
}
BENCHMARK(replay);

}  // namespace
}  // namespace tapescope
