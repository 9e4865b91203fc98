#include "kernels/conv2d/chunks.h"

#include "engine/thread_pool.h"

namespace tapescope {

void add_chunks(const Chunks& cut, std::int64_t elements, std::size_t stride_bytes, char* sums) {
  const auto of_chunk = [&](std::int64_t chunk) {
    return reinterpret_cast<float*>(sums + static_cast<std::size_t>(chunk) * stride_bytes);
  };
  const auto of_piece = [&](std::int64_t piece) {
    return of_chunk(cut.first_chunk[static_cast<std::size_t>(piece)]);
  };
  parallel_ranges(elements, 16 * 1024, [&](std::int64_t begin, std::int64_t end) {
    const auto add = [&](float* to, const float* from) {
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    };
    for (std::size_t piece = 0; piece + 1 < cut.first_chunk.size(); ++piece) {
      const std::int64_t first = cut.first_chunk[piece];
      for (std::int64_t k = first + 1; k < cut.first_chunk[piece + 1]; ++k) {
        add(of_chunk(first), of_chunk(k));
      }
    }
    for (std::int64_t half = 1; half < cut.pieces(); half *= 2) {
      for (std::int64_t i = 0; i < cut.pieces(); i += 2 * half)
        add(of_piece(i), of_piece(i + half));
    }
  });
}

}  // namespace tapescope
