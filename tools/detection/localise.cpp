#include "tools/detection/localise.h"

#include <algorithm>
#include <vector>

namespace tapescope::detection {

Box localise(const Map& map, double share) {
  float largest = 0;
  for (float v : map.values) largest = std::max(largest, v);
  if (!(largest > 0)) return {};
  const auto at = [&](int y, int x) { return static_cast<std::size_t>(y * map.width + x); };
  const auto limit = static_cast<float>(share) * largest;
  std::vector<bool> seen(map.values.size(), false);
  Box best;
  std::size_t most = 0;
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x) {
      if (seen[at(y, x)] || !(map.values[at(y, x)] >= limit)) continue;
      std::vector<std::pair<int, int>> open{{y, x}};
      seen[at(y, x)] = true;
      std::size_t size = 0;
      int y0 = y, y1 = y, x0 = x, x1 = x;
      while (!open.empty()) {
        const auto [cy, cx] = open.back();
        open.pop_back();
        ++size;
        y0 = std::min(y0, cy);
        y1 = std::max(y1, cy);
        x0 = std::min(x0, cx);
        x1 = std::max(x1, cx);
        const std::pair<int, int> around[] = {
            {cy - 1, cx}, {cy + 1, cx}, {cy, cx - 1}, {cy, cx + 1}};
        for (const auto& [ny, nx] : around) {
          if (ny < 0 || nx < 0 || ny >= map.height || nx >= map.width) continue;
          if (seen[at(ny, nx)] || !(map.values[at(ny, nx)] >= limit)) continue;
          seen[at(ny, nx)] = true;
          open.emplace_back(ny, nx);
        }
      }
      if (size <= most) continue;
      most = size;
      best = {static_cast<double>(x0), static_cast<double>(y0), static_cast<double>(x1 - x0 + 1),
              static_cast<double>(y1 - y0 + 1)};
    }
  }
  return best;
}

}  // namespace tapescope::detection
