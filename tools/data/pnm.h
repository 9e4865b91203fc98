// Portable bitmaps, greymaps and pixmaps: P1 to P6.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tools/data/image.h"

namespace tapescope {

// P1 to P3 are text, P4 to P6 binary; P1 and P4 bits (1 is black), P2 and P5 grey, P3 and P6
// colour.
struct PnmHeader {
  int kind = 0;  // 1 to 6
  std::int64_t width = 0, height = 0;
  int largest = 1;       // the value of white
  std::size_t data = 0;  // where the samples begin
};

// Numbers are set apart by white space and comments (# to the end of the line). Throws BrokenImage.
PnmHeader read_pnm_header(std::span<const std::uint8_t> bytes);

// What is wrong with the file, as the end of a sentence; empty where it is whole.
std::string broken_pnm(std::span<const std::uint8_t> bytes);

// Sample v becomes 255 v / largest, rounded as Pillow does; of 65535 the upper byte. Two bytes a
// sample, the upper one first, where the largest value is above 255. Throws BrokenImage.
Image decode_pnm(std::span<const std::uint8_t> bytes);

}  // namespace tapescope
