// The running statistics of all batch normalisations of a net in one launch: their pointers travel
// as the kernel's argument, and a block finds its norm among them. A launch each, let alone the
// dozen that the equations are as element-wise ops, would cost a hundred times the work.
#include "kernels/more_ops/running_statistics/running_statistics.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kMost = 36;  // norms a launch: arguments may be 4 KiB

struct Norm {
  const float *mean, *variance, *batch_mean, *batch_variance;  // {C}
  const float* n_at;                                           // {}, or null: n says
  const std::int64_t* batches;                                 // {}
  float *next_mean, *next_variance;                            // {C}
  std::int64_t* next_batches;                                  // {}
  std::int64_t C;
  float n;
  int first_block;
};
struct Norms {
  Norm norm[kMost];
  int count = 0;
};

__global__ void running_statistics(const __grid_constant__ Norms norms, float keep, float take,
                                   const std::int64_t* halted) {
  if (halted != nullptr && *halted != 0) return;
  const int block = static_cast<int>(blockIdx.x);
  int k = 0;
  while (k + 1 < norms.count && norms.norm[k + 1].first_block <= block) ++k;
  const Norm& s = norms.norm[k];
  const std::int64_t c = std::int64_t{block - s.first_block} * blockDim.x + threadIdx.x;
  if (c == 0) *s.next_batches = *s.batches + 1;
  if (c >= s.C) return;
  const float n = s.n_at != nullptr ? *s.n_at : s.n;
  const float unbiased = n / max(n - 1.0f, 1.0f);
  s.next_mean[c] = keep * s.mean[c] + take * s.batch_mean[c];
  s.next_variance[c] = keep * s.variance[c] + take * (s.batch_variance[c] * unbiased);
}

Norm norm_at(const RunningNorm& norm, const Buffers& b, std::int64_t at) {
  const auto in = [&](int k) { return static_cast<const float*>(b.in[at + k]); };
  const auto out = [&](int k) { return static_cast<float*>(b.out[at + k]); };
  return {in(0),
          in(1),
          in(3),
          in(4),
          norm.n_is_read ? in(5) : nullptr,
          static_cast<const std::int64_t*>(b.in[at + 2]),
          out(0),
          out(1),
          static_cast<std::int64_t*>(b.out[at + 2]),
          norm.C,
          static_cast<float>(norm.n),
          0};
}

Plan prepare(const RunningStatisticsShape& s) {
  auto all = std::make_unique<std::vector<RunningNorm>>(s.norms.begin(), s.norms.end());
  return Plan("one_launch", 0,
              [all = std::move(all), keep = static_cast<float>(1 - s.momentum),
               take = static_cast<float>(s.momentum), pitch = s.pitch,
               can_halt = s.can_halt](const Queue& queue, const Buffers& b) {
                const auto* halted = can_halt ? static_cast<const std::int64_t*>(b.in[6]) : nullptr;
                for (std::size_t begin = 0; begin < all->size(); begin += kMost) {
                  const std::size_t end = std::min(all->size(), begin + kMost);
                  Norms norms;
                  int blocks = 0;
                  for (std::size_t k = begin; k < end; ++k) {
                    Norm& norm = norms.norm[norms.count++];
                    norm = norm_at((*all)[k], b, static_cast<std::int64_t>(k) * pitch);
                    norm.first_block = blocks;
                    // One at least: it counts.
                    blocks += static_cast<int>(
                        std::max<std::int64_t>(1, ceil_div<std::int64_t>(norm.C, kThreads)));
                  }
                  launch<running_statistics>(queue, dim3(static_cast<unsigned>(blocks)), kThreads,
                                             0, norms, keep, take, halted);
                }
              });
}

}  // namespace

Rows<RunningStatisticsShape> running_statistics_variants() {
  static constexpr Variant<RunningStatisticsShape> rows[] = {
      {.name = "one_launch",
       .dtypes = {DType::f32},
       .note = "36 norms a launch, their pointers in its arguments",
       .prepare = prepare},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
