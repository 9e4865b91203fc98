#include <algorithm>
#include <cmath>
#include <filesystem>
#include <pugixml.hpp>
#include <sstream>

#include "tools/detection/detector.h"
#include "tools/files/text.h"
#include "tools/report/text.h"

namespace tapescope::detection {
namespace {

// Told apart by people of most kinds of colour vision (Okabe and Ito 2008), dark enough for white
// letters.
constexpr Color kColours[] = {{0, 114, 178},  {213, 94, 0},  {0, 130, 95},
                              {175, 80, 130}, {160, 120, 0}, {70, 70, 70}};

void fill(Image& image, int y0, int x0, int y1, int x1, Color colour) {
  for (int y = std::max(0, y0); y < std::min(image.height, y1); ++y) {
    for (int x = std::max(0, x0); x < std::min(image.width, x1); ++x) {
      std::copy(colour.begin(), colour.end(), image.at(y, x));
    }
  }
}

}  // namespace

void draw_boxes(Image& picture, std::span<const Seen> seen,
                const std::vector<std::string>& classes) {
  const int line = std::max(1, std::min(picture.height, picture.width) / 240);
  // The surest last, on top.
  for (std::size_t i = seen.size(); i-- > 0;) {
    const Seen& s = seen[i];
    const Color colour = kColours[static_cast<std::size_t>(s.category) % std::size(kColours)];
    const int x0 = static_cast<int>(s.box.x), y0 = static_cast<int>(s.box.y);
    const int x1 = static_cast<int>(std::lround(s.box.x + s.box.w));
    const int y1 = static_cast<int>(std::lround(s.box.y + s.box.h));
    fill(picture, y0, x0, y0 + line, x1, colour);
    fill(picture, y1 - line, x0, y1, x1, colour);
    fill(picture, y0, x0, y1, x0 + line, colour);
    fill(picture, y0, x1 - line, y1, x1, colour);
    const std::string text =
        fmt::format("{} {:.0f}", classes[static_cast<std::size_t>(s.category)], 100 * s.score);
    const int top = y0 >= kGlyphHeight + 1 ? y0 - kGlyphHeight - 1 : y0;
    fill(picture, top, x0, top + kGlyphHeight + 1, x0 + text_width(text) + 2, colour);
    draw_text(picture, top + 1, x0 + 1, text, {255, 255, 255});
  }
}

std::string to_yolo_text(const SeenImage& image) {
  std::string text;
  for (const Seen& s : image.seen) {
    text +=
        fmt::format("{} {:.6f} {:.6f} {:.6f} {:.6f} {:.9g}\n", s.category,
                    (s.box.x + s.box.w / 2) / image.width, (s.box.y + s.box.h / 2) / image.height,
                    s.box.w / image.width, s.box.h / image.height, s.score);
  }
  return text;
}

std::string to_voc_xml(const SeenImage& image, const std::vector<std::string>& classes) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("annotation");
  const auto put = [](pugi::xml_node to, const char* name, const std::string& text) {
    to.append_child(name).text().set(text.c_str());
  };
  put(root, "filename", printable(std::filesystem::path(image.path).filename().string()));
  pugi::xml_node size = root.append_child("size");
  put(size, "width", std::to_string(image.width));
  put(size, "height", std::to_string(image.height));
  put(size, "depth", "3");
  for (const Seen& s : image.seen) {
    pugi::xml_node object = root.append_child("object");
    put(object, "name", printable(classes[static_cast<std::size_t>(s.category)]));
    put(object, "difficult", "0");
    put(object, "score", fmt::format("{:.9g}", s.score));
    pugi::xml_node box = object.append_child("bndbox");
    // Pixels from 1, both ends inside.
    put(box, "xmin", std::to_string(std::lround(s.box.x) + 1));
    put(box, "ymin", std::to_string(std::lround(s.box.y) + 1));
    put(box, "xmax", std::to_string(std::lround(s.box.x + s.box.w)));
    put(box, "ymax", std::to_string(std::lround(s.box.y + s.box.h)));
  }
  std::ostringstream out;
  document.save(out, "  ");
  return out.str();
}

}  // namespace tapescope::detection
