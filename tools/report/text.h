// Words in pictures: a built-in 5x7 bitmap font, so that a picture needs no font file.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tools/data/image.h"

namespace tapescope {

using Color = std::array<std::uint8_t, 3>;  // red, green, blue

constexpr int kGlyphWidth = 6;   // 5 and a gap
constexpr int kGlyphHeight = 9;  // 7, a row for descenders and a gap

// Writes with the first letter's upper left corner at (y, x), each font pixel `scale` pixels wide;
// what falls outside the picture is left out. Characters beyond ASCII appear as '?', once each.
// `image` has 3 channels.
void draw_text(Image& image, int y, int x, const std::string& text, Color color, int scale = 1);

int text_width(const std::string& text, int scale = 1);

// The text, its end replaced by ".." where it is wider than `width` pixels.
std::string fit_text(const std::string& text, int width, int scale = 1);

// A number in at most about eight characters: 0.25, -3.1e-05, 12000.
std::string short_number(double value);

}  // namespace tapescope
