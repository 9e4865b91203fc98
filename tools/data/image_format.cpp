#include "tools/data/image_format.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool has(Bytes bytes, std::size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() && std::memcmp(&bytes[at], text.data(), text.size()) == 0;
}

std::uint32_t big_endian(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at]) << 24 |
         static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
         static_cast<std::uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

std::uint32_t little_endian(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at + 3]) << 24 |
         static_cast<std::uint32_t>(bytes[at + 2]) << 16 |
         static_cast<std::uint32_t>(bytes[at + 1]) << 8 | bytes[at];
}

std::string cut_off(std::size_t size, std::string_view what) {
  return fmt::format("is cut off: its {} bytes end before {}", size, what);
}

// Length, type, data, CRC-32 of type and data; until IEND. Only the chunks that carry the picture
// are held to their checksum, as other readers do.
std::string broken_png(Bytes bytes) {
  std::size_t at = 8;
  bool data_seen = false;
  while (true) {
    if (bytes.size() < at + 12) return cut_off(bytes.size(), "the closing IEND chunk");
    const std::size_t length = big_endian(bytes, at);
    const std::size_t left = bytes.size() - at - 12;
    const bool critical = (bytes[at + 4] & 0x20) == 0;
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    for (char c : type) {
      if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))) {
        return fmt::format("is corrupt: no chunk begins at byte {}", at);
      }
    }
    if (length > left) return cut_off(bytes.size(), fmt::format("the end of its {} chunk", type));
    if (critical) {
      const auto sum = crc32(0, &bytes[at + 4], static_cast<uInt>(length + 4));
      if (sum != big_endian(bytes, at + 8 + length)) {
        return fmt::format("is corrupt: the {} chunk at byte {} does not match its checksum", type,
                           at);
      }
    }
    if (at == 8 && type != "IHDR") return "is corrupt: it does not begin with an IHDR chunk";
    data_seen = data_seen || type == "IDAT";
    at += 12 + length;
    if (type == "IEND") return data_seen ? "" : "is corrupt: it holds no IDAT chunk";
  }
}

// Huffman tables: a byte of class and number, how many codes there are of each length from 1 to 16,
// then their symbols, of which there are at most 256. Decoders have trusted these counts too far.
bool broken_huffman_tables(Bytes segment) {
  while (!segment.empty()) {
    if (segment.size() < 17) return true;
    std::size_t symbols = 0;
    std::size_t codes_left = 1;  // of the present length
    for (std::size_t length = 1; length <= 16; ++length) {
      symbols += segment[length];
      codes_left *= 2;
      if (segment[length] > codes_left) return true;
      codes_left -= segment[length];
    }
    if (segment[0] >> 4 > 1 || (segment[0] & 15) > 3 || symbols > 256) return true;
    if (segment.size() < 17 + symbols) return true;
    segment = segment.subspan(17 + symbols);
  }
  return false;
}

// Segments have a length; a scan's entropy-coded bytes run up to the next marker that is neither
// a stuffed zero nor a restart. Decoders invent what a cut-off scan lacks, so the end-of-image
// marker has to be there.
std::string broken_jpeg(Bytes bytes) {
  const std::size_t size = bytes.size();
  std::size_t at = 2;
  bool frame_seen = false;
  bool scan_seen = false;
  while (true) {
    while (at < size && bytes[at] != 0xff) {
      // Between segments only padding may appear; inside scans this skips coded bytes.
      if (!scan_seen) return fmt::format("is corrupt: no JPEG segment begins at byte {}", at);
      ++at;
    }
    while (at < size && bytes[at] == 0xff) ++at;
    if (at >= size) return cut_off(size, "the end-of-image marker");
    const std::uint8_t marker = bytes[at++];
    if (marker == 0xd9) {
      if (!scan_seen) return "is corrupt: it ends before any picture data";
      return "";
    }
    if (marker == 0x00 || (marker >= 0xd0 && marker <= 0xd7) || marker == 0x01) continue;
    if (at + 2 > size) return cut_off(size, "the end-of-image marker");
    const std::size_t length = static_cast<std::size_t>(bytes[at]) << 8 | bytes[at + 1];
    if (length < 2) return fmt::format("is corrupt: the segment at byte {} has no length", at - 2);
    if (at + length > size) return cut_off(size, "the end-of-image marker");
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    frame_seen = frame_seen || frame;
    if (marker == 0xc4 && broken_huffman_tables(bytes.subspan(at + 2, length - 2))) {
      return fmt::format("is corrupt: the Huffman tables at byte {} are impossible", at - 2);
    }
    if (marker == 0xda) {
      if (!frame_seen) return "is corrupt: picture data before its frame header";
      scan_seen = true;
    }
    at += length;
  }
}

std::string broken_bmp(Bytes bytes) {
  if (bytes.size() < 26) return cut_off(bytes.size(), "the end of its header");
  const std::size_t offset = little_endian(bytes, 10);
  const std::size_t header = little_endian(bytes, 14);
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::int64_t bits = 0;
  std::uint32_t compression = 0;
  if (header == 12) {
    width = bytes[18] | bytes[19] << 8;
    height = bytes[20] | bytes[21] << 8;
    bits = bytes[24] | bytes[25] << 8;
  } else {
    if (bytes.size() < 34) return cut_off(bytes.size(), "the end of its header");
    width = static_cast<std::int32_t>(little_endian(bytes, 18));
    height = static_cast<std::int32_t>(little_endian(bytes, 22));
    bits = bytes[28] | bytes[29] << 8;
    compression = little_endian(bytes, 30);
  }
  height = height < 0 ? -height : height;
  if (width <= 0 || height <= 0 || bits <= 0 || bits > 32) {
    return "is corrupt: its header gives no picture size";
  }
  if (compression == 1 || compression == 2) return "";  // run lengths: the decoder refuses them
  const std::int64_t row = (width * bits + 31) / 32 * 4;
  const auto available =
      static_cast<std::int64_t>(bytes.size()) - static_cast<std::int64_t>(offset);
  if (height > available / row + 1 || row * height > available) {
    return cut_off(bytes.size(), fmt::format("the last of {} rows", height));
  }
  return "";
}

// P5 or P6, then width, height and largest value as text, each after white space or comments.
std::string broken_pnm(Bytes bytes) {
  std::size_t at = 2;
  std::int64_t numbers[3] = {};
  for (std::int64_t& number : numbers) {
    while (at < bytes.size() && (std::isspace(bytes[at]) != 0 || bytes[at] == '#')) {
      if (bytes[at] == '#') {
        while (at < bytes.size() && bytes[at] != '\n') ++at;
      } else {
        ++at;
      }
    }
    const std::size_t first = at;
    while (at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9' && at - first < 9) {
      number = number * 10 + (bytes[at++] - '0');
    }
    if (at >= bytes.size()) return cut_off(bytes.size(), "the end of its header");
    if (at == first || number == 0) return "is corrupt: its header gives no picture size";
  }
  ++at;  // the one white space after the largest value
  if (numbers[2] > 65535) return "is corrupt: its largest sample value is above 65535";
  const std::int64_t sample = (bytes[1] == '6' ? 3 : 1) * (numbers[2] > 255 ? 2 : 1);
  const auto available = static_cast<std::int64_t>(bytes.size() - std::min(at, bytes.size()));
  if (numbers[1] > available || numbers[0] > available / numbers[1] / sample) {
    return cut_off(bytes.size(), fmt::format("the last of {} rows", numbers[1]));
  }
  return "";
}

}  // namespace

Sniffed sniff_image(Bytes bytes) {
  if (has(bytes, 0, "\xff\xd8\xff")) return {ImageFormat::jpeg, "JPEG"};
  if (has(bytes, 0, "\x89PNG\r\n\x1a\n")) return {ImageFormat::png, "PNG"};
  if (has(bytes, 0, "BM") && bytes.size() >= 18 && bytes[15] == 0 && bytes[16] == 0) {
    return {ImageFormat::bmp, "BMP"};
  }
  if ((has(bytes, 0, "P5") || has(bytes, 0, "P6")) && bytes.size() > 2 &&
      (std::isspace(bytes[2]) != 0 || bytes[2] == '#')) {
    return {ImageFormat::pnm, "PPM/PGM"};
  }
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) {
    return {ImageFormat::known_but_not_read, "WebP"};
  }
  if (has(bytes, 0, "GIF8")) return {ImageFormat::known_but_not_read, "GIF"};
  using namespace std::string_view_literals;
  if (has(bytes, 0, "II*\0"sv) || has(bytes, 0, "MM\0*"sv)) {
    return {ImageFormat::known_but_not_read, "TIFF"};
  }
  if (has(bytes, 4, "ftyp")) return {ImageFormat::known_but_not_read, "HEIF/AVIF"};
  return {};
}

std::string broken_structure(ImageFormat format, Bytes bytes) {
  switch (format) {
    case ImageFormat::png:
      return broken_png(bytes);
    case ImageFormat::jpeg:
      return broken_jpeg(bytes);
    case ImageFormat::bmp:
      return broken_bmp(bytes);
    case ImageFormat::pnm:
      return broken_pnm(bytes);
    default:
      return "";
  }
}

}  // namespace tapescope
