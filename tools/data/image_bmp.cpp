// BMP with a palette (1, 4 and 8 bits per pixel, also run-length coded); deeper ones by stb_image.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tools/data/bmp_header.h"
#include "tools/data/decoders.h"

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

// Rows from below, as stored; `put` is given the palette's indices.
class Indices {
 public:
  explicit Indices(const BmpHeader& header)
      : width_(static_cast<std::size_t>(header.width)),
        height_(static_cast<std::size_t>(header.height)),
        at_(width_ * height_, 0) {}
  std::uint8_t row(std::size_t y, std::size_t x) const { return at_[y * width_ + x]; }

  void read_plain(Bytes data, int bits) {
    const std::size_t stride = (width_ * static_cast<std::size_t>(bits) + 31) / 32 * 4;
    const auto per_byte = static_cast<std::size_t>(8 / bits);
    const int mask = (1 << bits) - 1;
    for (std::size_t y = 0; y < height_; ++y) {
      for (std::size_t x = 0; x < width_; ++x) {
        const int shift = bits * static_cast<int>(per_byte - 1 - x % per_byte);
        at_[y * width_ + x] =
            static_cast<std::uint8_t>(data[y * stride + x / per_byte] >> shift & mask);
      }
    }
  }

  // Pairs of a count and an index (two of 4 bits in turn); count 0: the end of the row (0) or of
  // the picture (1), a step (2), or so many indices as they are. What is stepped over has index 0.
  void read_runs(Bytes data, int bits) {
    std::size_t i = 0, x = 0, y = 0;
    const auto next = [&]() -> std::size_t {
      if (i >= data.size()) {
        throw BrokenImage{"is cut off: its run-length coded rows have no end"};
      }
      return data[i++];
    };
    const auto put = [&](std::size_t value, std::size_t k) {
      const std::size_t index = bits == 8 ? value : k % 2 == 0 ? value >> 4 : value & 15;
      if (x < width_ && y < height_) at_[y * width_ + x] = static_cast<std::uint8_t>(index);
      ++x;
    };
    while (y < height_) {
      const std::size_t count = next(), value = next();
      if (count > 0) {
        for (std::size_t k = 0; k < count; ++k) put(value, k);
      } else if (value == 0) {
        x = 0;
        ++y;
      } else if (value == 1) {
        return;
      } else if (value == 2) {
        x += next();
        y += next();
      } else {
        std::size_t stored = 0, bytes = 0;
        for (std::size_t k = 0; k < value; ++k) {
          if (bits == 8 || k % 2 == 0) {
            stored = next();
            ++bytes;
          }
          put(stored, k);
        }
        if (bytes % 2 == 1) next();
      }
    }
  }

 private:
  std::size_t width_, height_;
  std::vector<std::uint8_t> at_;
};

// Red, green, blue; black beyond the palette's end.
std::array<std::uint8_t, 256 * 3> palette_of(Bytes bytes, const BmpHeader& header) {
  std::array<std::uint8_t, 256 * 3> palette = {};
  const std::size_t each = header.size == 12 ? 3 : 4;
  const std::size_t begin = 14 + header.size;
  const std::size_t room = header.offset > begin ? (header.offset - begin) / each : 0;
  std::size_t count = std::min<std::size_t>(room, std::size_t{1} << header.bits);
  if (header.colours > 0) count = std::min<std::size_t>(count, header.colours);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < 3; ++c) palette[i * 3 + c] = bytes[begin + i * each + 2 - c];
  }
  return palette;
}

}  // namespace

Image decode_deep_bmp(Bytes bytes);  // image_stb.cpp

Image decode_bmp(Bytes bytes) {
  const BmpHeader header = read_bmp_header(bytes);
  if (header.bits > 8) return decode_deep_bmp(bytes);
  if (header.bits != 1 && header.bits != 4 && header.bits != 8) {
    throw BrokenImage{
        fmt::format("has {} bits per pixel; 1, 4, 8, 16, 24 and 32 are read", header.bits)};
  }
  Indices indices(header);
  const Bytes data = bytes.subspan(header.offset);
  if (header.compression == 0) {
    indices.read_plain(data, header.bits);
  } else if ((header.compression == 1 && header.bits == 8) ||
             (header.compression == 2 && header.bits == 4)) {
    indices.read_runs(data, header.bits);
  } else {
    throw BrokenImage{fmt::format("has compression {} with {} bits per pixel, which is not read",
                                  header.compression, header.bits)};
  }
  const auto palette = palette_of(bytes, header);
  Image image(static_cast<int>(header.height), static_cast<int>(header.width), 3);
  for (int y = 0; y < image.height; ++y) {
    const int from = header.from_below ? image.height - 1 - y : y;
    for (int x = 0; x < image.width; ++x) {
      const std::size_t index =
          indices.row(static_cast<std::size_t>(from), static_cast<std::size_t>(x));
      std::copy_n(&palette[index * 3], 3, image.at(y, x));
    }
  }
  return image;
}

}  // namespace tapescope
