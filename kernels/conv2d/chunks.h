// A batch cut for the sum over it: into pieces (kernels/common/pieces.h), and those into chunks
// that threads work on, each with a sum of its own. The chunks of a piece are added in order, the
// pieces as a tree.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/common/pieces.h"

namespace tapescope {

struct Chunks {
  std::vector<RowRange> chunks;           // a piece without rows is one without rows
  std::vector<std::int64_t> first_chunk;  // of each piece; at the end, how many there are

  std::int64_t count() const { return std::ssize(chunks); }
  std::int64_t pieces() const { return std::ssize(first_chunk) - 1; }
};

// The chunks' sums, f32 {elements}, lie `stride_bytes` apart; the sum of all goes into the first.
void add_chunks(const Chunks& cut, std::int64_t elements, std::size_t stride_bytes, char* sums);

}  // namespace tapescope
