// Which picture format a file holds, and whether the file is whole.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tapescope {

enum class ImageFormat : unsigned char { unknown, jpeg, png, bmp, pnm, known_but_not_read };

struct Sniffed {
  ImageFormat format = ImageFormat::unknown;
  std::string_view name;  // "JPEG", "PNG", ..., "WebP"
};

// From the first bytes; a file's name plays no part.
Sniffed sniff_image(std::span<const std::uint8_t> bytes);

// What is wrong with the file's structure, as the end of a sentence ("is cut off: ..."); empty
// when it is whole.
std::string broken_structure(ImageFormat format, std::span<const std::uint8_t> bytes);

}  // namespace tapescope
