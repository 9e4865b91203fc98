#include "kernels/more_ops/cast/widened.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/more_ops/cast/simd.h"

namespace tapescope {
namespace {

constexpr std::size_t kMostBuffers = 8;
constexpr std::int64_t kGrain = 32 * 1024;  // elements of a chunk of parallel work

void convert(CastKernel kernel, std::int64_t n, const void* from, std::size_t from_size, void* to,
             std::size_t to_size) {
  parallel_ranges(n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    const auto first = static_cast<std::size_t>(begin);
    kernel(end - begin, static_cast<const char*>(from) + first * from_size,
           static_cast<char*>(to) + first * to_size);
  });
}

struct Wide {
  std::int64_t elements;
  std::size_t offset;  // of its f32 copy in the workspace
};
struct Widened {
  Plan inner;
  std::vector<Wide> in, out;
  std::size_t inner_offset = 0;

  void run(const Queue& queue, const Buffers& b) const {
    const CastKernels& casts = TAPESCOPE_ISA_TABLE(cast_kernels);
    char* memory = static_cast<char*>(b.workspace);
    std::array<const void*, kMostBuffers> from{};
    std::array<void*, kMostBuffers> to{};
    for (std::size_t k = 0; k < in.size(); ++k) {
      from[k] = b.in[k];
      if (in[k].elements == kAsItIs || b.in[k] == nullptr) continue;
      convert(casts.bf16_to_f32, in[k].elements, b.in[k], 2, memory + in[k].offset, 4);
      from[k] = memory + in[k].offset;
    }
    for (std::size_t k = 0; k < out.size(); ++k) {
      const bool as_it_is = out[k].elements == kAsItIs || b.out[k] == nullptr;
      to[k] = as_it_is ? b.out[k] : memory + out[k].offset;
    }
    inner.run(queue, {from.data(), to.data(), memory + inner_offset});
    for (std::size_t k = 0; k < out.size(); ++k) {
      if (to[k] == b.out[k]) continue;
      convert(casts.f32_to_bf16, out[k].elements, to[k], 4, b.out[k], 2);
    }
  }
};

}  // namespace

Plan widened(Plan f32, std::initializer_list<std::int64_t> in,
             std::initializer_list<std::int64_t> out) {
  auto all = std::make_unique<Widened>();
  std::size_t bytes = 0;
  const auto place = [&](std::initializer_list<std::int64_t> buffers, std::vector<Wide>& places) {
    for (const std::int64_t elements : buffers) {
      places.push_back({elements, bytes});
      bytes += (static_cast<std::size_t>(std::max<std::int64_t>(elements, 0)) * 4 + 63) / 64 * 64;
    }
  };
  place(in, all->in);
  place(out, all->out);
  all->inner_offset = bytes;
  bytes += f32.workspace_bytes();
  all->inner = std::move(f32);
  const std::string_view name = all->inner.variant();
  return Plan(name, bytes,
              [all = std::move(all)](const Queue& queue, const Buffers& b) { all->run(queue, b); });
}

}  // namespace tapescope
