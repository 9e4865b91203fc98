// The sum over ranks: a balanced tree of neighbours.
#pragma once

#include <cstdint>
#include <span>

#include "engine/type.h"

namespace tapescope {

// out[i] = lower[i] + higher[i], f32 or f64; `out` may be either of them.
void add_pair(const void* lower, const void* higher, std::int64_t count, DType dtype, void* out);

// out[i] = ((s0[i] + s1[i]) + (s2[i] + s3[i])) + ..., f32 or f64: the number of sources is a power
// of two, `out` may be one of them. Large sums run in parallel; each element is added by itself, so
// that no bit depends on how.
void tree_sum(std::span<const void* const> sources, std::int64_t count, DType dtype, void* out);

// A number of ranks that has such a tree: 1, 2, 4, ... 1024.
constexpr int kMostRanks = 1024;
constexpr bool is_rank_count(std::int64_t ranks) {
  return ranks >= 1 && ranks <= kMostRanks && (ranks & (ranks - 1)) == 0;
}
// Throws a usage error that names those that are, where `ranks` is none.
void expect_rank_count(std::int64_t ranks);

}  // namespace tapescope
