// Which picture format a file holds, and whether the file is whole.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tools/data/image.h"

namespace tapescope {

enum class ImageFormat : unsigned char {
  unknown,
  jpeg,
  png,
  bmp,
  pnm,
  webp,
  tiff,
  known_but_not_read
};

struct Sniffed {
  ImageFormat format = ImageFormat::unknown;
  std::string_view name;  // "JPEG", "PNG", ..., "WebP"
};

// From the first bytes; a file's name plays no part.
Sniffed sniff_image(std::span<const std::uint8_t> bytes);

// What is wrong with the file's structure, as the end of a sentence ("is cut off: ..."); empty
// when it is whole.
std::string broken_structure(ImageFormat format, std::span<const std::uint8_t> bytes);

// As stored, unturned; nothing where `bytes` end before it is said, or it is nothing. Of sizes
// above 2^31 - 1, that.
std::optional<ImageSize> stored_size(ImageFormat format, std::span<const std::uint8_t> bytes);

// The beginning of a picture file, up to its size and its orientation: as far as read_image_size
// needs it. Errors as read_bytes.
std::vector<std::uint8_t> read_header_bytes(const std::filesystem::path& path);

}  // namespace tapescope
