#include "tools/data/recolour.h"

#include <algorithm>

namespace tapescope {

Image recoloured(const ImageView& from, int channels) {
  if (from.channels == channels) return copy_of(from);
  Image other(from.height, from.width, channels);
  const std::uint8_t* p = from.pixels;
  std::uint8_t* to = other.pixels.data();
  for (const std::uint8_t* end = to + other.pixels.size(); to != end;) {
    if (channels == 3) {
      to = std::fill_n(to, 3, *p++);
    } else {  // ITU-R BT.601 luma, in Pillow's fixed point
      *to++ = static_cast<std::uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16);
      p += 3;
    }
  }
  return other;
}

}  // namespace tapescope
