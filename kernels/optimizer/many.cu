// Many parameters' optimiser steps in one launch: the pointers of up to 64 tensors travel as the
// kernel's argument, and a block finds the tensor that its 4,096 elements belong to among them.
#include "kernels/optimizer/many.h"

#include <memory>

#include <algorithm>
#include <vector>

#include "kernels/common/vector.h"
#include "kernels/optimizer/update.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr std::int64_t kPiece = 4096;  // elements of a block: four packs of each thread
constexpr int kMost = 64;              // tensors a launch: arguments may be 4 KiB

// What a launch works on: block b belongs to tensor k with first[k] <= b < first[k + 1].
template <int States>
struct Tensors {
  float* w[kMost];              // {n}, replaced
  const float* g[kMost];        // {n}
  float* state[States][kMost];  // {n}, replaced; null where there is none
  std::int64_t n[kMost];
  double decay[kMost];
  int first[kMost + 1];
  std::uint64_t wide;  // bit k: tensor k can be moved in packs of four
  int count;
};

template <int n>
struct Width {
  static constexpr int value = n;
};

template <int States>
__device__ int tensor_of(const Tensors<States>& t, int block) {
  int low = 0, high = t.count;  // first[low] <= block < first[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (t.first[middle] <= block) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// Calls each(i, width) for what the thread has of its block's piece of tensor k: `width` elements
// from i on, 4 or 1.
template <int States, class Each>
__device__ void for_elements(const Tensors<States>& t, int k, Each&& each) {
  const std::int64_t begin = (std::int64_t{blockIdx.x} - t.first[k]) * kPiece;
  const std::int64_t end = min(t.n[k], begin + kPiece);
  if (t.wide >> k & 1u) {
    for (std::int64_t i = begin + 4 * threadIdx.x; i < end; i += 4 * blockDim.x) {
      each(i, Width<4>());
    }
  } else {
    for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) each(i, Width<1>());
  }
}

__global__ void sgd_many(const __grid_constant__ Tensors<1> t, const float* lr, Sgd s,
                         const std::int64_t* halted) {
  if (halted != nullptr && *halted != 0) return;
  const int k = tensor_of(t, static_cast<int>(blockIdx.x));
  s.decay = static_cast<float>(t.decay[k]);
  const float rate = *lr;
  float *const w = t.w[k], *const u = t.state[0][k];
  const float* const g = t.g[k];
  for_elements(t, k, [&](std::int64_t i, auto width) {
    constexpr int n = decltype(width)::value;
    auto weight = load_pack<float, n>(w + i);
    const auto gradient = load_pack<float, n>(g + i);
    Pack<float, n> velocity = {};
    if (s.momentum != 0) velocity = load_pack<float, n>(u + i);
    TAPESCOPE_UNROLL
    for (int j = 0; j < n; ++j) sgd_element(weight[j], gradient[j], &velocity[j], rate, s);
    if (s.momentum != 0) store_pack(u + i, velocity);
    store_pack(w + i, weight);
  });
}

__global__ void adamw_many(const __grid_constant__ Tensors<2> t, const float* lr,
                           const std::int64_t* step, Adamw s, const std::int64_t* halted) {
  TAPESCOPE_SHARED(AdamwStep, now, [1]);
  if (halted != nullptr && *halted != 0) return;
  const int k = tensor_of(t, static_cast<int>(blockIdx.x));
  s.weight_decay = t.decay[k];
  if (threadIdx.x == 0) now[0] = adamw_step(s, *lr, *step);
  __syncthreads();
  float *const w = t.w[k], *const m = t.state[0][k], *const v = t.state[1][k];
  const float* const g = t.g[k];
  for_elements(t, k, [&](std::int64_t i, auto width) {
    constexpr int n = decltype(width)::value;
    auto weight = load_pack<float, n>(w + i);
    auto first = load_pack<float, n>(m + i), second = load_pack<float, n>(v + i);
    const auto gradient = load_pack<float, n>(g + i);
    TAPESCOPE_UNROLL
    for (int j = 0; j < n; ++j) adamw_element(weight[j], gradient[j], first[j], second[j], now[0]);
    store_pack(w + i, weight);
    store_pack(m + i, first);
    store_pack(v + i, second);
  });
}

// Not 0 once a guard was not finite. x, halted, next: {}
template <class T>
__global__ void halt(const T* x, const std::int64_t* halted, std::int64_t* next) {
  *next = *halted != 0 || !isfinite(static_cast<float>(*x)) ? 1 : 0;
}

// --- host ---

struct Sizes {
  std::vector<std::int64_t> n;
  std::vector<double> decay;
  std::int64_t pitch;
  bool can_halt;
};

// Calls go(tensors, blocks) for each launch's worth of tensors.
template <int States, class Go>
void for_launches(const Sizes& sizes, const Buffers& b, Go&& go) {
  for (std::size_t begin = 0; begin < sizes.n.size(); begin += kMost) {
    Tensors<States> t = {};
    const std::size_t end = std::min(sizes.n.size(), begin + kMost);
    std::int64_t blocks = 0;
    for (std::size_t k = begin; k < end; ++k) {
      const std::int64_t at = static_cast<std::int64_t>(k) * sizes.pitch;
      const int slot = t.count++;
      t.w[slot] = static_cast<float*>(b.out[at]);
      t.g[slot] = static_cast<const float*>(b.in[at + 1]);
      for (int s = 0; s < States; ++s) t.state[s][slot] = static_cast<float*>(b.out[at + 1 + s]);
      t.n[slot] = sizes.n[k];
      bool wide = sizes.n[k] % 4 == 0 && aligned(t.w[slot], 16) && aligned(t.g[slot], 16);
      for (int s = 0; s < States; ++s) wide = wide && aligned(t.state[s][slot], 16);
      if (wide) t.wide |= std::uint64_t{1} << slot;
      t.decay[slot] = sizes.decay[k];
      t.first[slot] = static_cast<int>(blocks);
      blocks += ceil_div<std::int64_t>(sizes.n[k], kPiece);
    }
    t.first[t.count] = static_cast<int>(blocks);
    if (blocks > 0) go(t, dim3(static_cast<unsigned>(blocks)));
  }
}

template <class Shape>
std::unique_ptr<Sizes> sizes_of(const Shape& s) {
  auto sizes = std::make_unique<Sizes>();
  sizes->pitch = s.pitch;
  sizes->can_halt = s.tensors.front().can_halt;
  for (const auto& tensor : s.tensors) {
    sizes->n.push_back(tensor.n);
    sizes->decay.push_back(tensor.weight_decay);
  }
  return sizes;
}

Plan prepare_sgd(const SgdManyShape& shape) {
  const SgdShape& first = shape.tensors.front();
  return Plan("one_launch", 0,
              [sizes = sizes_of(shape), s = sgd_of(first)](const Queue& queue, const Buffers& b) {
                const float* lr = static_cast<const float*>(b.in[3]);
                const auto* halted = halted_of(b, sizes->can_halt ? 4 : -1);
                for_launches<1>(*sizes, b, [&](const Tensors<1>& t, dim3 blocks) {
                  launch<sgd_many>(queue, blocks, kThreads, 0, t, lr, s, halted);
                });
              });
}
Plan prepare_adamw(const AdamwManyShape& shape) {
  const AdamwShape& first = shape.tensors.front();
  return Plan("one_launch", 0,
              [sizes = sizes_of(shape), s = adamw_of(first)](const Queue& queue, const Buffers& b) {
                const float* lr = static_cast<const float*>(b.in[4]);
                const auto* step = static_cast<const std::int64_t*>(b.in[5]);
                const auto* halted = halted_of(b, sizes->can_halt ? 6 : -1);
                for_launches<2>(*sizes, b, [&](const Tensors<2>& t, dim3 blocks) {
                  launch<adamw_many>(queue, blocks, kThreads, 0, t, lr, step, s, halted);
                });
              });
}

template <class T>
Plan halt_plan() {
  return Plan("one_thread", 0, [](const Queue& queue, const Buffers& b) {
    launch<halt<T>>(queue, dim3(1), 1, 0, static_cast<const T*>(b.in[0]),
                    static_cast<const std::int64_t*>(b.in[1]),
                    static_cast<std::int64_t*>(b.out[0]));
  });
}
Plan prepare_halt(const HaltShape& s) {
  return s.dtype == DType::bf16 ? halt_plan<bf16>() : halt_plan<float>();
}

template <class Shape>
constexpr Variant<Shape> one_launch_row(Plan (*prepare)(const Shape&)) {
  return {.name = "one_launch",
          .dtypes = {DType::f32},
          .error_factor = 2,
          .note = "64 tensors a launch, their pointers in its arguments",
          .prepare = prepare};
}

}  // namespace

Rows<SgdManyShape> sgd_many_variants() {
  static constexpr Variant<SgdManyShape> rows[] = {
      one_launch_row(prepare_sgd),
  };
  return rows;
}

Rows<AdamwManyShape> adamw_many_variants() {
  static constexpr Variant<AdamwManyShape> rows[] = {
      one_launch_row(prepare_adamw),
  };
  return rows;
}

Rows<HaltShape> halt_variants() {
  static constexpr Variant<HaltShape> rows[] = {
      {.name = "one_thread",
       .dtypes = {DType::f32, DType::bf16},
       .note = "one thread",
       .prepare = prepare_halt},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
