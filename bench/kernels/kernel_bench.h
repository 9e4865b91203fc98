// Timing of one plan on memory of its own; counters say bytes moved and elements done per second.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/philox.h"
#include "kernels/common/variant.h"

namespace tapescope::bench {

// The plan of a variant by name, on the CPU.
template <class Shape>
Plan prepare(const Variants<Shape>& table, std::string_view variant, const Shape& shape) {
  Backend backend;
  backend.choices[std::string(table.family)] = std::string(variant);
  return prepare_from(table, shape, shape.dtype, backend);
}

// Memory as the engine hands it out: aligned to 64.
class Memory {
 public:
  explicit Memory(std::size_t bytes)
      : data_(static_cast<unsigned char*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {
    std::memset(data_.get(), 0, bytes);
  }
  void* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(void* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<unsigned char, Free> data_;
};

// Operands and outputs as f32 vectors of these lengths; operands are uniform in [0.1, 1).
inline void measure(benchmark::State& state, const Plan& plan,
                    const std::vector<std::int64_t>& in_elements,
                    const std::vector<std::int64_t>& out_elements) {
  std::vector<Memory> memory;
  std::vector<const void*> in_pointers;
  std::vector<void*> out_pointers;
  std::int64_t elements = 0;
  PhiloxStream random(1);
  for (std::int64_t n : in_elements) {
    memory.emplace_back(static_cast<std::size_t>(n) * 4);
    float* values = static_cast<float*>(memory.back().data());
    for (std::int64_t i = 0; i < n; ++i) values[i] = 0.1f + 0.9f * random.uniform();
    in_pointers.push_back(values);
    elements += n;
  }
  for (std::int64_t n : out_elements) {
    memory.emplace_back(static_cast<std::size_t>(n) * 4);
    out_pointers.push_back(memory.back().data());
    elements += n;
  }
  const Memory workspace(plan.workspace_bytes());
  const Queue queue(Device::cpu());
  for (auto _ : state) {
    plan.run(queue, Buffers{in_pointers.data(), out_pointers.data(), workspace.data()});
    benchmark::ClobberMemory();
  }
  const double runs = static_cast<double>(state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(runs) * elements * 4);
  const std::int64_t first = out_elements.empty() ? 0 : std::max(out_elements[0], in_elements[0]);
  state.SetItemsProcessed(static_cast<std::int64_t>(runs) * first);
}

}  // namespace tapescope::bench
