// A picture's size from its header.
#include <algorithm>
#include <cstring>

#include "tools/data/bmp_header.h"
#include "tools/data/decoders.h"
#include "tools/data/exif.h"
#include "tools/data/image_format.h"
#include "tools/data/pnm.h"

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::optional<ImageSize> size_of(std::int64_t height, std::int64_t width) {
  if (height <= 0 || width <= 0) return {};
  return ImageSize{static_cast<int>(std::min<std::int64_t>(height, INT32_MAX)),
                   static_cast<int>(std::min<std::int64_t>(width, INT32_MAX))};
}

std::int64_t number(const std::uint8_t* b, int size, bool big_endian) {
  std::int64_t value = 0;
  for (int i = 0; i < size; ++i) value = value << 8 | b[big_endian ? i : size - 1 - i];
  return value;
}

// Of the frame header; the segments before it have lengths.
std::optional<ImageSize> jpeg_size(Bytes bytes) {
  for (std::size_t at = 2; at + 9 <= bytes.size();) {
    if (bytes[at] != 0xff) return {};
    const std::uint8_t marker = bytes[at + 1];
    if (marker == 0xff) {  // a fill byte
      ++at;
    } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
               marker != 0xcc) {
      return size_of(number(&bytes[at + 5], 2, true), number(&bytes[at + 7], 2, true));
    } else if (marker >= 0xd0 && marker <= 0xd8) {  // markers without a length
      at += 2;
    } else {
      at += 2 + static_cast<std::size_t>(number(&bytes[at + 2], 2, true));
    }
  }
  return {};
}

// Extended (of the canvas), lossless or lossy.
std::optional<ImageSize> webp_size(Bytes bytes) {
  if (bytes.size() < 30) return {};
  const std::uint8_t* b = bytes.data();
  if (std::memcmp(b + 12, "VP8X", 4) == 0) {
    return size_of(number(b + 27, 3, false) + 1, number(b + 24, 3, false) + 1);
  }
  if (std::memcmp(b + 12, "VP8L", 4) == 0) {
    const std::int64_t bits = number(b + 21, 4, false);
    return size_of((bits >> 14 & 0x3fff) + 1, (bits & 0x3fff) + 1);
  }
  return size_of(number(b + 28, 2, false) & 0x3fff, number(b + 26, 2, false) & 0x3fff);
}

std::optional<ImageSize> pnm_size(Bytes bytes) {
  try {
    const PnmHeader header = read_pnm_header(bytes);
    return size_of(header.height, header.width);
  } catch (const BrokenImage&) {
    return {};
  }
}

}  // namespace

std::optional<ImageSize> stored_size(ImageFormat format, Bytes bytes) {
  switch (format) {
    case ImageFormat::jpeg:
      return jpeg_size(bytes);
    case ImageFormat::png:
      if (bytes.size() < 24) return {};
      return size_of(number(&bytes[20], 4, true), number(&bytes[16], 4, true));
    case ImageFormat::bmp: {
      const BmpHeader header = read_bmp_header(bytes);
      return size_of(header.height, header.width);
    }
    case ImageFormat::pnm:
      return pnm_size(bytes);
    case ImageFormat::webp:
      return webp_size(bytes);
    case ImageFormat::tiff:
      return size_of(tiff_tag(bytes, 257).value_or(0), tiff_tag(bytes, 256).value_or(0));
    default:
      return {};
  }
}

}  // namespace tapescope
