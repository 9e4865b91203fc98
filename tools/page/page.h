// A page of one file that needs no network: data, drawing code and styles together.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tools/data/image.h"
#include "tools/report/colormap.h"

namespace tapescope::page {

// The report: HTML with the data, Chart.js, the styles and the code of this folder inside. `json`
// is one object; report.js says what it looks for.
std::string assemble(const std::string& title, const std::string& json);

std::string base64(std::span<const std::uint8_t> bytes);
// "data:image/png;base64,..."; pictures whose longer side is above `most` are reduced.
std::string picture_uri(const Image& image, int most);
// Numbers as 16-bit integers in base64, little-endian, in units of `scale` / 32767: a map that a
// page can colour and read out. Not-a-number becomes 0.
struct PackedMap {
  int height = 0, width = 0;
  double scale = 0;
  std::string values;
};
PackedMap packed(const Map& map, int most);
// 256 colours from one end to the other as "rrggbb" each, for a page to look up.
std::string colour_table(Colors colors);

}  // namespace tapescope::page
