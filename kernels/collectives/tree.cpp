#include "kernels/collectives/tree.h"

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/thread_pool.h"

namespace tapescope {
namespace {

constexpr std::int64_t kBlock = 512;        // of a tree's inner sums, on the stack
constexpr std::int64_t kGrain = 32 * 1024;  // elements that one thread takes

template <class T>
void add(const T* lower, const T* higher, std::int64_t count, T* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = lower[i] + higher[i];
}

// Of at most kBlock elements.
template <class T>
void block_sum(std::span<const void* const> sources, std::int64_t begin, std::int64_t count,
               T* out) {
  const auto at = [&](std::size_t k) { return static_cast<const T*>(sources[k]) + begin; };
  if (sources.size() == 1) {
    if (at(0) != out) std::copy_n(at(0), count, out);
  } else if (sources.size() == 2) {
    add(at(0), at(1), count, out);
  } else {
    // Beside `out`, which may be a source that is still to be read.
    T lower[kBlock], higher[kBlock];
    const std::size_t half = sources.size() / 2;
    block_sum(sources.first(half), begin, count, lower);
    block_sum(sources.last(half), begin, count, higher);
    add(lower, higher, count, out);
  }
}

template <class T>
void sum(std::span<const void* const> sources, std::int64_t count, T* out) {
  const std::int64_t block = sources.size() > 2 ? kBlock : kGrain;
  parallel_ranges(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += block) {
      block_sum(sources, i, std::min(block, end - i), out + i);
    }
  });
}

}  // namespace

void tree_sum(std::span<const void* const> sources, std::int64_t count, DType dtype, void* out) {
  if (dtype == DType::f32) {
    sum(sources, count, static_cast<float*>(out));
  } else if (dtype == DType::f64) {
    sum(sources, count, static_cast<double*>(out));
  } else {
    throw failure("[all_reduce] sums over ranks are of f32 or f64, not of {}; cast before",
                  name_of(dtype));
  }
}

void add_pair(const void* lower, const void* higher, std::int64_t count, DType dtype, void* out) {
  const void* const pair[] = {lower, higher};
  tree_sum(pair, count, dtype, out);
}

void expect_rank_count(std::int64_t ranks) {
  if (is_rank_count(ranks)) return;
  std::int64_t below = 1;
  while (below * 2 <= std::min<std::int64_t>(ranks, kMostRanks)) below *= 2;
  throw usage_error(
      "{} ranks: their number must be a power of two (1, 2, 4, 8 ... {}), since what they compute "
      "is "
      "added as a balanced tree; start {}",
      ranks, kMostRanks,
      below < kMostRanks && ranks > 0 ? fmt::format("{} or {}", below, below * 2)
                                      : fmt::format("{}", below));
}

}  // namespace tapescope
