// Many tensors to bf16 in one launch: their pointers travel as the kernel's argument, and a block
// finds the tensor that its 2,048 elements belong to among them.
#include "kernels/more_ops/cast/many.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"
#include "kernels/more_ops/cast/convert.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kWidth = 4, kPiece = 2 * kWidth * static_cast<int>(kThreads);
constexpr int kMost = 128;  // tensors a launch: arguments may be 4 KiB

// Blocks first[k] to first[k + 1] are tensor k's.
struct Tensors {
  const float* x[kMost];
  bf16* y[kMost];
  std::int64_t n[kMost];
  int first[kMost + 1];
  int count;
};

__global__ void cast_many(const __grid_constant__ Tensors t) {
  const int block = static_cast<int>(blockIdx.x);
  int k = 0, end = t.count;  // first[k] <= block < first[end]
  while (end - k > 1) {
    const int middle = (k + end) / 2;
    (t.first[middle] <= block ? k : end) = middle;
  }
  const float* const x = t.x[k];
  bf16* const y = t.y[k];
  const std::int64_t n = t.n[k], begin = std::int64_t{block - t.first[k]} * kPiece;
  const bool wide = reinterpret_cast<std::uintptr_t>(x) % (kWidth * sizeof(float)) == 0 &&
                    reinterpret_cast<std::uintptr_t>(y) % (kWidth * sizeof(bf16)) == 0;
  for (int j = 0; j < 2; ++j) {
    const std::int64_t i = begin + kWidth * (j * static_cast<std::int64_t>(kThreads) + threadIdx.x);
    if (wide && i + kWidth <= n) {
      const auto from = load_pack<float, kWidth>(x + i);
      Pack<bf16, kWidth> to;
      TAPESCOPE_UNROLL
      for (int e = 0; e < kWidth; ++e) to[e] = convert<bf16>(from[e]);
      store_pack(y + i, to);
    } else {
      TAPESCOPE_UNROLL
      for (int e = 0; e < kWidth; ++e) {
        if (i + e < n) y[i + e] = convert<bf16>(x[i + e]);
      }
    }
  }
}

Plan prepare(const CastManyShape& s) {
  auto sizes = std::make_unique<std::vector<std::int64_t>>(s.n.begin(), s.n.end());
  return Plan(
      "one_launch", 0,
      [sizes = std::move(sizes), pitch = s.pitch](const Queue& queue, const Buffers& b) {
        for (std::size_t begin = 0; begin < sizes->size(); begin += kMost) {
          const std::size_t end = std::min(sizes->size(), begin + kMost);
          Tensors t = {};
          for (std::size_t k = begin; k < end; ++k) {
            const std::int64_t at = static_cast<std::int64_t>(k) * pitch;
            const int slot = t.count++;
            t.x[slot] = static_cast<const float*>(b.in[at]);
            t.y[slot] = static_cast<bf16*>(b.out[at]);
            t.n[slot] = (*sizes)[k];
            t.first[t.count] =
                t.first[slot] + static_cast<int>(ceil_div<std::int64_t>((*sizes)[k], kPiece));
          }
          if (t.first[t.count] == 0) continue;
          launch<cast_many>(queue, dim3(static_cast<unsigned>(t.first[t.count])), kThreads, 0, t);
        }
      });
}

}  // namespace

Rows<CastManyShape> cast_many_variants() {
  static constexpr Variant<CastManyShape> rows[] = {
      {.name = "one_launch",
       .dtypes = {DType::f32},
       .note = "128 tensors a launch, their pointers in its arguments",
       .prepare = prepare},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
