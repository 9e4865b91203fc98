// Timing of one plan on memory of its own; counters say bytes moved and elements done per second.
#pragma once

#include <benchmark/benchmark.h>

#include <vector>

#include "engine/philox.h"
#include "kernels/common/variant.h"

namespace tapescope::bench {

// The plan of a variant by name, on the CPU.
template <class Shape>
Plan prepare(std::span<const Variant<Shape>> table, std::string_view variant, const Shape& shape) {
  Backend backend;
  backend.choices[std::string(table.front().family)] = std::string(variant);
  return prepare_from(table, shape, shape.dtype, backend);
}

// Operands and outputs as f32 vectors of these lengths; operands are uniform in [0.1, 1).
inline void measure(benchmark::State& state, const Plan& plan,
                    const std::vector<std::int64_t>& in_elements,
                    const std::vector<std::int64_t>& out_elements) {
  std::vector<std::vector<float>> in, out;
  std::vector<const void*> in_pointers;
  std::vector<void*> out_pointers;
  std::int64_t elements = 0;
  PhiloxStream random(1);
  for (std::int64_t n : in_elements) {
    in.emplace_back(static_cast<std::size_t>(n));
    for (float& value : in.back()) value = 0.1f + 0.9f * random.uniform();
    elements += n;
  }
  for (std::int64_t n : out_elements) {
    out.emplace_back(static_cast<std::size_t>(n));
    elements += n;
  }
  for (auto& values : in) in_pointers.push_back(values.data());
  for (auto& values : out) out_pointers.push_back(values.data());
  std::vector<unsigned char> workspace(plan.workspace_bytes() + 64);
  void* aligned = workspace.data() + (64 - reinterpret_cast<std::uintptr_t>(workspace.data()) % 64);
  const Queue queue(Device::cpu());
  for (auto _ : state) {
    plan.run(queue, Buffers{in_pointers.data(), out_pointers.data(), aligned});
    benchmark::ClobberMemory();
  }
  const double runs = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(runs) * elements * 4);
  const std::int64_t first = out_elements.empty() ? 0 : std::max(out_elements[0], in_elements[0]);
  state.SetItemsProcessed(static_cast<std::int64_t>(runs) * first);
}

}  // namespace tapescope::bench
