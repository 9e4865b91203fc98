#include "tools/detection/box_net.h"

#include <fmt/format.h>

#include <algorithm>

namespace tapescope::detection {

Grid::Place Grid::place(int y, int x) const {
  std::int64_t cell = y * width + x;
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const Level& level = levels[l];
    if (cell < level.cells()) {
      const auto at = static_cast<int>(cell % (std::int64_t{1} * level.height * level.width));
      return {static_cast<int>(l), level.stride, at / level.width, at % level.width};
    }
    cell -= level.cells();
  }
  return {-1, 0, y, x};
}

std::vector<std::pair<int, int>> Grid::cells_at(double x, double y) const {
  std::vector<std::pair<int, int>> cells;
  std::int64_t first = 0;
  for (const Level& level : levels) {
    const int row = std::clamp(static_cast<int>(y) / level.stride, 0, level.height - 1);
    const int column = std::clamp(static_cast<int>(x) / level.stride, 0, level.width - 1);
    for (int b = 0; b < level.boxes; ++b) {
      const std::int64_t cell =
          first + (std::int64_t{b} * level.height + row) * level.width + column;
      cells.emplace_back(static_cast<int>(cell / width), static_cast<int>(cell % width));
    }
    first += level.cells();
  }
  return cells;
}

std::string Grid::name(int y, int x) const {
  if (levels.empty()) return fmt::format("number {}", y * width + x);
  const Place at = place(y, x);
  if (levels.size() == 1) return fmt::format("{},{}", at.x, at.y);
  return fmt::format("{},{} of stride {}", at.x, at.y, at.stride);
}

Var predictions_of(const CellVars& cells, bool peaks) {
  Var p = cells.probability;
  if (peaks) {
    const Var highest = max_pool2d(
        p, {.kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1});
    p = mul(p, equal(p, highest));
  }
  const Var parts[] = {p, cells.boxes};
  return concat(parts, 3);
}

Var BoxNet::predictions(const NamedVars& outputs) const {
  return predictions_of(cells(outputs), selection().peaks);
}

}  // namespace tapescope::detection
