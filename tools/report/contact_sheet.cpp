#include "tools/report/contact_sheet.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "tools/data/resize.h"
#include "tools/report/text.h"

namespace tapescope {
namespace {

constexpr Color kInk = {40, 40, 40};

// Fits into a square of this side.
Image fitted(const Image& image, int side) {
  const int longer = std::max(image.height, image.width);
  if (longer == 0) return image;
  if (longer <= side) {
    const int factor = std::max(1, side / longer);
    Image out(image.height * factor, image.width * factor, image.channels);
    for (int y = 0; y < out.height; ++y) {
      for (int x = 0; x < out.width; ++x) {
        std::copy_n(image.at(y / factor, x / factor), image.channels, out.at(y, x));
      }
    }
    return out;
  }
  const auto scaled = [&](int size) {
    return std::max(1, static_cast<int>(std::lround(static_cast<double>(size) * side / longer)));
  };
  return resize_bilinear(image, scaled(image.height), scaled(image.width));
}

void paste(const Image& image, int top, int left, Image& sheet) {
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        sheet.at(top + y, left + x)[c] = image.at(y, x)[image.channels == 1 ? 0 : c];
      }
    }
  }
}

}  // namespace

Image contact_sheet(const std::vector<SheetCell>& cells, const SheetOptions& options) {
  if (cells.empty()) throw usage_error("a sheet of no pictures cannot be made; give at least one");
  int side = options.cell_size;
  if (side <= 0) {
    side = 96;
    for (const SheetCell& cell : cells) {
      side = std::max({side, cell.image.height, cell.image.width});
    }
  }
  std::vector<Image> images;
  int height = 1;
  int width = 1;
  bool labels = false;
  for (const SheetCell& cell : cells) {
    images.push_back(fitted(cell.image, side));
    height = std::max(height, images.back().height);
    width = std::max(width, images.back().width);
    labels = labels || !cell.label.empty();
  }
  const int count = static_cast<int>(cells.size());
  const int columns = options.columns > 0
                          ? std::min(options.columns, count)
                          : static_cast<int>(std::ceil(std::sqrt(static_cast<double>(count))));
  const int rows = (count + columns - 1) / columns;
  const int scale = side >= 320 ? 2 : 1;
  const int gap = 6 * scale;
  const int words = labels ? (kGlyphHeight + 2) * scale : 0;
  const int title_scale = 2 * scale;
  const int head = options.title.empty() ? gap : kGlyphHeight * title_scale + 2 * gap;
  Image sheet(head + rows * (height + words + gap), gap + columns * (width + gap), 3, 255);
  if (!options.title.empty()) {
    draw_text(sheet, gap, gap, fit_text(options.title, sheet.width - 2 * gap, title_scale), kInk,
              title_scale);
  }
  for (int i = 0; i < count; ++i) {
    const Image& image = images[static_cast<std::size_t>(i)];
    const int top = head + i / columns * (height + words + gap);
    const int left = gap + i % columns * (width + gap);
    paste(image, top + (height - image.height) / 2, left + (width - image.width) / 2, sheet);
    const std::string label = fit_text(cells[static_cast<std::size_t>(i)].label, width, scale);
    draw_text(sheet, top + height + 3 * scale, left + (width - text_width(label, scale)) / 2, label,
              kInk, scale);
  }
  return sheet;
}

}  // namespace tapescope
