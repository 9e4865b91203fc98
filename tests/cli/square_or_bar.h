// Pictures with one object whose class and box are known.
#pragma once

#include <string_view>

#include "engine/philox.h"
#include "tools/data/image.h"

namespace tapescope {

// Grey noise of 64x48 with one bright square (even `index`) or one dark bar.
struct SquareOrBar {
  Image picture{48, 64, 3};
  bool bar;
  int x, y, w, h;  // of the object, which begins at column `left` or further right

  SquareOrBar(std::string_view split, int index, int left = 0)
      : bar(index % 2 == 1), w(bar ? 24 : 14), h(bar ? 8 : 14) {
    PhiloxStream random(stable_hash(split) + static_cast<std::uint64_t>(index));
    for (std::uint8_t& v : picture.pixels) v = static_cast<std::uint8_t>(90 + random.below(40));
    x = left + static_cast<int>(random.below(static_cast<std::uint32_t>(64 - left - w)));
    y = static_cast<int>(random.below(static_cast<std::uint32_t>(48 - h)));
    for (int yy = y; yy < y + h; ++yy) {
      for (int xx = x; xx < x + w; ++xx) {
        for (int c = 0; c < 3; ++c) picture.at(yy, xx)[c] = bar ? 10 : 245;
      }
    }
  }
};

}  // namespace tapescope
