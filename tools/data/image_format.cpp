#include "tools/data/image_format.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "tools/data/bmp_header.h"
#include "tools/data/pnm.h"

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
  int scans = 0;
  constexpr int kMostScans = 1000;  // each costs a pass over the picture; a few dozen are usual
  while (true) {
    if (at < size && bytes[at] != 0xff) {
      // Between segments only padding may appear; inside scans this skips coded bytes.
      if (!scan_seen) return fmt::format("is corrupt: no JPEG segment begins at byte {}", at);
      const void* next = std::memchr(&bytes[at], 0xff, size - at);
      if (next == nullptr) return cut_off(size, "the end-of-image marker");
      at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(next) - bytes.data());
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
      if (++scans > kMostScans)
        return fmt::format("is corrupt: it has more than {} scans", kMostScans);
      scan_seen = true;
    }
    at += length;
  }
}

std::string broken_bmp(Bytes bytes) {
  const BmpHeader header = read_bmp_header(bytes);
  if (header.size == 0) return cut_off(bytes.size(), "the end of its header");
  if (header.width <= 0 || header.height <= 0 || header.bits <= 0 || header.bits > 32) {
    return "is corrupt: its header gives no picture size";
  }
  if (header.offset < 14 + header.size) {
    return fmt::format("is corrupt: its pixels begin at byte {}, within its header", header.offset);
  }
  const auto available =
      static_cast<std::int64_t>(bytes.size()) - static_cast<std::int64_t>(header.offset);
  const bool runs = header.compression == 1 || header.compression == 2;
  const std::int64_t row = runs ? 1 : (header.width * header.bits + 31) / 32 * 4;
  if (header.height > available / row) {
    return cut_off(bytes.size(), fmt::format("the last of {} rows", header.height));
  }
  return "";
}

// A size of the whole, then chunks: name, length, data, padded to an even length.
std::string broken_webp(Bytes bytes) {
  if (bytes.size() < 20 || little_endian(bytes, 4) > bytes.size() - 8) {
    return cut_off(bytes.size(), "the size that its header gives");
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
  if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
      (std::isspace(bytes[2]) != 0 || bytes[2] == '#')) {
    return {ImageFormat::pnm, "PBM/PGM/PPM"};
  }
  if (has(bytes, 0, "P7\n")) return {ImageFormat::known_but_not_read, "PAM"};
  if (has(bytes, 0, "Pf\n") || has(bytes, 0, "PF\n")) {
    return {ImageFormat::known_but_not_read, "PFM"};
  }
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) {
    const bool animated = has(bytes, 12, "VP8X") && bytes.size() > 20 && (bytes[20] & 2) != 0;
    if (animated) return {ImageFormat::known_but_not_read, "animated WebP"};
    return {ImageFormat::webp, "WebP"};
  }
  if (has(bytes, 0, "GIF8")) return {ImageFormat::known_but_not_read, "GIF"};
  using namespace std::string_view_literals;
  for (std::string_view magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv}) {
    if (has(bytes, 0, magic)) return {ImageFormat::tiff, "TIFF"};
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
    case ImageFormat::webp:
      return broken_webp(bytes);
    default:
      return "";
  }
}

}  // namespace tapescope
