// Many parameters' optimiser steps in one launch: the pointers of up to 64 tensors travel as the
// kernel's argument, and a block finds the tensor it belongs to among them.
#include "kernels/optimizer/many.h"

#include <memory>

#include <algorithm>
#include <vector>

#include "kernels/optimizer/update.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kMost = 64;  // tensors a launch: arguments may be 4 KiB

// What a launch works on: block b belongs to tensor k with first[k] <= b < first[k + 1].
template <int States>
struct Tensors {
  float* w[kMost];              // {n}, replaced
  const float* g[kMost];        // {n}
  float* state[States][kMost];  // {n}, replaced
  std::int64_t n[kMost];
  double decay[kMost];
  int first[kMost + 1];
  int count;
};

template <int States>
__device__ int tensor_of(const Tensors<States>& t, int block) {
  int k = 0;
  while (k + 1 < t.count && t.first[k + 1] <= block) ++k;
  return k;
}
template <int States>
__device__ std::int64_t element_of(const Tensors<States>& t, int k) {
  return (std::int64_t{blockIdx.x} - t.first[k]) * blockDim.x + threadIdx.x;
}

__global__ void sgd_many(Tensors<1> t, const float* lr, Sgd s) {
  const int k = tensor_of(t, static_cast<int>(blockIdx.x));
  const std::int64_t i = element_of(t, k);
  if (i >= t.n[k]) return;
  s.decay = static_cast<float>(t.decay[k]);
  sgd_element(t.w[k][i], t.g[k][i], s.momentum != 0 ? &t.state[0][k][i] : nullptr, *lr, s);
}

__global__ void adamw_many(Tensors<2> t, const float* lr, const std::int64_t* step, Adamw s) {
  TAPESCOPE_SHARED(AdamwStep, now, [1]);
  const int k = tensor_of(t, static_cast<int>(blockIdx.x));
  s.weight_decay = t.decay[k];
  if (threadIdx.x == 0) now[0] = adamw_step(s, *lr, *step);
  __syncthreads();
  const std::int64_t i = element_of(t, k);
  if (i >= t.n[k]) return;
  adamw_element(t.w[k][i], t.g[k][i], t.state[0][k][i], t.state[1][k][i], now[0]);
}

// --- host ---

struct Sizes {
  std::vector<std::int64_t> n;
  std::vector<double> decay;
  std::int64_t pitch;
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
      t.decay[slot] = sizes.decay[k];
      t.first[slot] = static_cast<int>(blocks);
      blocks += ceil_div<std::int64_t>(sizes.n[k], kThreads);
    }
    t.first[t.count] = static_cast<int>(blocks);
    if (blocks > 0) go(t, dim3(static_cast<unsigned>(blocks)));
  }
}

template <class Shape>
std::unique_ptr<Sizes> sizes_of(const Shape& s) {
  auto sizes = std::make_unique<Sizes>();
  sizes->pitch = s.pitch;
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
                for_launches<1>(*sizes, b, [&](const Tensors<1>& t, dim3 blocks) {
                  launch<sgd_many>(queue, blocks, kThreads, 0, t, lr, s);
                });
              });
}
Plan prepare_adamw(const AdamwManyShape& shape) {
  const AdamwShape& first = shape.tensors.front();
  return Plan("one_launch", 0,
              [sizes = sizes_of(shape), s = adamw_of(first)](const Queue& queue, const Buffers& b) {
                const float* lr = static_cast<const float*>(b.in[4]);
                const auto* step = static_cast<const std::int64_t*>(b.in[5]);
                for_launches<2>(*sizes, b, [&](const Tensors<2>& t, dim3 blocks) {
                  launch<adamw_many>(queue, blocks, kThreads, 0, t, lr, step, s);
                });
              });
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

}  // namespace tapescope::TAPESCOPE_GPU
