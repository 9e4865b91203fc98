// What stands at the beginning of a BMP file.
#pragma once

#include <cstdint>
#include <span>

namespace tapescope {

struct BmpHeader {
  std::size_t offset = 0;  // of the pixels
  std::size_t size = 0;    // of the header that follows the file's 14 bytes
  std::int64_t width = 0, height = 0;
  bool from_below = true;  // the lowest row comes first
  int bits = 0;            // a pixel
  std::uint32_t compression = 0;
  std::uint32_t colours = 0;  // in the palette; 0: as many as there can be
};

// All 0 where `bytes` end before the header does.
BmpHeader read_bmp_header(std::span<const std::uint8_t> bytes);

}  // namespace tapescope
