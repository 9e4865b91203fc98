// What the forward and the weight gradient of Winograd's convolution share.
#pragma once

#include <cstdint>

#include "kernels/conv2d/conv2d.h"

namespace tapescope::winograd {

inline constexpr std::int64_t kElements = 36;  // of a transformed tile
inline constexpr std::int64_t kTile = 4;       // a tile is 4x4 outputs

inline std::int64_t blocks(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}
inline std::int64_t padded(std::int64_t count, std::int64_t size) {
  return blocks(count, size) * size;
}

// Where the tiles of a batch of outputs {N, P, Q, .} lie. Tiles of all images are counted through.
struct Tiles {
  std::int64_t N, P, Q, rows, columns;
  Tiles(std::int64_t images, std::int64_t height, std::int64_t width)
      : N(images),
        P(height),
        Q(width),
        rows(blocks(height, kTile)),
        columns(blocks(width, kTile)) {}
  std::int64_t count() const { return N * rows * columns; }
  struct Place {
    std::int64_t n, p, q;  // image, first row and column of the output
  };
  Place operator[](std::int64_t tile) const {
    return {tile / (rows * columns), tile / columns % rows * kTile, tile % columns * kTile};
  }
};

inline bool fits(const Conv2dShape& c) {
  return c.KH == 3 && c.KW == 3 && c.stride_h == 1 && c.stride_w == 1 && c.dilation_h == 1 &&
         c.dilation_w == 1 && c.groups == 1 && c.pad_h <= 2 && c.pad_w <= 2;
}

}  // namespace tapescope::winograd
