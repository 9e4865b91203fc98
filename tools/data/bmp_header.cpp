#include "tools/data/bmp_header.h"

namespace tapescope {
namespace {

std::uint32_t little_endian(const std::uint8_t* b, int size) {
  std::uint32_t value = 0;
  for (int i = size - 1; i >= 0; --i) value = value << 8 | b[i];
  return value;
}

}  // namespace

BmpHeader read_bmp_header(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 26) return {};
  const std::uint8_t* b = bytes.data();
  BmpHeader header;
  header.offset = little_endian(b + 10, 4);
  header.size = little_endian(b + 14, 4);
  if (header.size == 12) {
    header.width = little_endian(b + 18, 2);
    header.height = little_endian(b + 20, 2);
    header.bits = static_cast<int>(little_endian(b + 24, 2));
    return header;
  }
  if (bytes.size() < 50) return {};
  header.width = static_cast<std::int32_t>(little_endian(b + 18, 4));
  header.height = static_cast<std::int32_t>(little_endian(b + 22, 4));
  header.bits = static_cast<int>(little_endian(b + 28, 2));
  if (header.size >= 40) {
    header.compression = little_endian(b + 30, 4);
    header.colours = little_endian(b + 46, 4);
  }
  header.from_below = header.height > 0;
  if (header.height < 0) header.height = -header.height;
  return header;
}

}  // namespace tapescope
