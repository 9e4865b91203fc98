// What the forward and the weight gradient of Winograd's convolution share, and by_tap.cpp's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "engine/thread_pool.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/simd.h"

namespace tapescope::winograd {

inline std::int64_t blocks(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}
inline std::int64_t padded(std::int64_t count, std::int64_t size) {
  return blocks(count, size) * size;
}

// How far apart the elements of a transformed tile lie that take so many floats each: an odd number
// of cache lines. A transform touches one line of each of 36 elements; a power of two apart, all of
// them would share one set of the cache.
inline std::int64_t apart(std::int64_t floats) { return (blocks(floats, 16) | 1) * 16; }

// f(worker, piece) for each piece, by whichever of `workers` is free: for pieces that need scratch
// memory, of which there is one for each worker.
template <class F>
void share_out(std::int64_t workers, std::int64_t pieces, F&& f) {
  std::atomic<std::int64_t> next{0};
  parallel_for(workers, [&](std::int64_t worker) {
    for (;;) {
      const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces) return;
      f(worker, piece);
    }
  });
}

// m[o * m_stride + i] += sum_t d[t * d_stride + o] v[t * I + i] for t < count, o < O, i < I, which
// is whole vectors. Panels of nearly equal height waste no rows.
inline void add_products(const WinogradKernels& kernels, std::int64_t count, const float* d,
                         std::int64_t d_stride, std::int64_t O, const float* v, std::int64_t I,
                         float* m, std::int64_t m_stride) {
  const std::int64_t panels = blocks(O, kernels.rows);
  for (std::int64_t i = 0; i < I; i += kernels.columns) {
    const std::int64_t vectors = std::min(kernels.columns, I - i) / kernels.width;
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const std::int64_t o = panel * O / panels, rows = (panel + 1) * O / panels - o;
      kernels.accumulate(rows, vectors, count, d + o, d_stride, v + i, I, m + o * m_stride + i,
                         m_stride);
    }
  }
}

// Where the tiles, `side` x `side`, of a batch of outputs {N, P, Q, .} lie. Tiles of all images are
// counted through.
struct Tiles {
  std::int64_t N, P, Q, side, rows, columns;
  Tiles(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t size)
      : N(images),
        P(height),
        Q(width),
        side(size),
        rows(blocks(height, size)),
        columns(blocks(width, size)) {}
  std::int64_t count() const { return N * rows * columns; }
  struct Place {
    std::int64_t n, p, q;  // image, first row and column of the output
  };
  Place operator[](std::int64_t tile) const {
    return {tile / (rows * columns), tile / columns % rows * side, tile % columns * side};
  }
};

// 3x3 by F(4x4, 3x3) and 5x5 by F(2x2, 5x5), both with six elements a side.
inline bool fits(const Conv2dShape& c) {
  return (c.KH == 3 || c.KH == 5) && c.KW == c.KH && c.stride_h == 1 && c.stride_w == 1 &&
         c.dilation_h == 1 && c.dilation_w == 1 && c.groups == 1 && c.pad_h < c.KH &&
         c.pad_w < c.KW;
}
inline const WinogradTransforms& transforms_of(const Conv2dShape& c,
                                               const WinogradKernels& kernels) {
  return c.KH == 5 ? kernels.f2x2_5x5 : kernels.f4x4_3x3;
}

}  // namespace tapescope::winograd
