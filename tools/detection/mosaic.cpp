#include "tools/detection/mosaic.h"

#include <algorithm>

namespace tapescope::detection {

void cut(std::vector<Object>& objects, const Box& window) {
  constexpr double kLeft = 0.25;  // of an object that is still one
  for (Object& o : objects) {
    const double right = window.x + window.w, bottom = window.y + window.h;
    const double x0 = std::clamp(o.box.x, window.x, right);
    const double y0 = std::clamp(o.box.y, window.y, bottom);
    const double x1 = std::clamp(o.box.x + o.box.w, window.x, right);
    const double y1 = std::clamp(o.box.y + o.box.h, window.y, bottom);
    o.box = {x0, y0, x1 - x0, y1 - y0};
  }
  // Of a crowd every part is still one.
  std::erase_if(objects, [](const Object& o) {
    return o.crowd ? o.box.area() <= 0 : o.box.area() < kLeft * o.area;
  });
}

Sample mosaic_of(std::span<const Tile, 4> tiles, int y, int x) {
  const int height = tiles[0].input.height, width = tiles[0].input.width;
  Sample sample{Image(height, width, 3, kGrey), {}};
  for (int i = 0; i < 4; ++i) {
    const Tile& tile = tiles[static_cast<std::size_t>(i)];
    // Where the picture's upper left corner comes to lie, perhaps outside.
    const int left = i % 2 == 0 ? x - tile.width : x, top = i / 2 == 0 ? y - tile.height : y;
    const int x0 = std::max(0, left), x1 = std::min(width, left + tile.width);
    const int y0 = std::max(0, top), y1 = std::min(height, top + tile.height);
    for (int row = y0; row < y1; ++row) {
      const int from = (row - top + tile.top) * width + x0 - left + tile.left;
      std::copy_n(tile.input.pixels + 3 * from, 3 * (x1 - x0), sample.image.at(row, x0));
    }
    std::vector<Object> objects = tile.objects;
    for (Object& o : objects) {
      o.box.x += left - tile.left;
      o.box.y += top - tile.top;
    }
    cut(objects, {static_cast<double>(x0), static_cast<double>(y0), static_cast<double>(x1 - x0),
                  static_cast<double>(y1 - y0)});
    sample.objects.insert(sample.objects.end(), objects.begin(), objects.end());
  }
  return sample;
}

}  // namespace tapescope::detection
