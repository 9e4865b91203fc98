#include "tools/data/pnm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "tools/data/decoders.h"

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

bool is_space(std::uint8_t c) { return std::isspace(c) != 0; }
bool is_digit(std::uint8_t c) { return c >= '0' && c <= '9'; }

[[noreturn]] void cut_off(Bytes bytes, const std::string& what) {
  throw BrokenImage{
      fmt::format("is cut off: its {} bytes end before the end of {}", bytes.size(), what)};
}

// Numbers written as text.
class Text {
 public:
  Text(Bytes bytes, std::size_t at) : bytes_(bytes), at_(at) {}
  std::size_t at() const { return at_; }
  // At most 999'999'999. `what` ends here if the file does.
  std::int64_t number(const char* what) {
    skip_blanks();
    const std::size_t first = at_;
    std::int64_t value = 0;
    while (at_ < bytes_.size() && is_digit(bytes_[at_])) {
      if (at_ - first == 9) broken(first);
      value = value * 10 + (bytes_[at_++] - '0');
    }
    if (at_ == first && at_ == bytes_.size()) cut_off(bytes_, what);
    if (at_ == first) broken(first);
    return value;
  }
  // One digit of a P1, which need not be set apart.
  std::int64_t bit() {
    skip_blanks();
    if (at_ == bytes_.size()) cut_off(bytes_, "its last row");
    if (bytes_[at_] != '0' && bytes_[at_] != '1') broken(at_);
    return bytes_[at_++] - '0';
  }

 private:
  void skip_blanks() {
    while (at_ < bytes_.size() && (is_space(bytes_[at_]) || bytes_[at_] == '#')) {
      if (bytes_[at_++] != '#') continue;
      while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
    }
  }
  [[noreturn]] static void broken(std::size_t at) {
    throw BrokenImage{fmt::format("is corrupt: no number begins at byte {}", at)};
  }
  Bytes bytes_;
  std::size_t at_;
};

int channels_of(const PnmHeader& header) { return header.kind % 3 == 0 ? 3 : 1; }

// Bytes per row of a binary file.
std::int64_t row_bytes(const PnmHeader& header) {
  if (header.kind == 4) return (header.width + 7) / 8;
  return header.width * channels_of(header) * (header.largest > 255 ? 2 : 1);
}

// 8-bit values of the samples 0 .. largest.
std::vector<std::uint8_t> levels(int largest) {
  std::vector<std::uint8_t> levels(static_cast<std::size_t>(largest) + 1);
  for (int v = 0; v <= largest; ++v) {
    const double exact = static_cast<double>(v) / largest * 255;
    levels[static_cast<std::size_t>(v)] =
        static_cast<std::uint8_t>(largest == 65535 ? v >> 8 : std::nearbyint(exact));
  }
  return levels;
}

void decode_text(Bytes bytes, const PnmHeader& header, Image& image) {
  Text text(bytes, header.data);
  const std::vector<std::uint8_t> level = levels(header.largest);
  for (std::uint8_t& pixel : image.pixels) {
    if (header.kind == 1) {
      pixel = text.bit() == 0 ? 255 : 0;
      continue;
    }
    const std::int64_t value = text.number("its last row");
    if (value > header.largest) {
      throw BrokenImage{fmt::format("is corrupt: it says that no value is above {}, and holds {}",
                                    header.largest, value)};
    }
    pixel = level[static_cast<std::size_t>(value)];
  }
}

void decode_bits(const std::uint8_t* from, Image& image) {
  const auto stride = static_cast<std::size_t>((image.width + 7) / 8);
  for (int y = 0; y < image.height; ++y, from += stride) {
    for (int x = 0; x < image.width; ++x) {
      *image.at(y, x) = (from[x / 8] >> (7 - x % 8) & 1) != 0 ? 0 : 255;
    }
  }
}

void decode_samples(const std::uint8_t* from, int largest, Image& image) {
  if (largest == 255) {
    std::copy_n(from, image.pixels.size(), image.pixels.begin());
    return;
  }
  const std::vector<std::uint8_t> level = levels(largest);
  for (std::uint8_t& pixel : image.pixels) {
    int value = *from++;
    if (largest > 255) value = value << 8 | *from++;
    pixel = level[static_cast<std::size_t>(std::min(value, largest))];
  }
}

}  // namespace

PnmHeader read_pnm_header(Bytes bytes) {
  PnmHeader header;
  header.kind = bytes[1] - '0';
  Text text(bytes, 2);
  header.width = text.number("its header");
  header.height = text.number("its header");
  const bool bits = header.kind == 1 || header.kind == 4;
  const std::int64_t largest = bits ? 1 : text.number("its header");
  if (header.width == 0 || header.height == 0 || largest == 0) {
    throw BrokenImage{"is corrupt: its header gives no picture size or no largest value"};
  }
  if (largest > 65535) {
    throw BrokenImage{
        fmt::format("is corrupt: its largest sample value is {}, above 65535", largest)};
  }
  header.largest = static_cast<int>(largest);
  header.data = text.at() + (header.kind > 3 ? 1 : 0);  // one white space before binary samples
  if (header.kind > 3 && header.data > bytes.size()) cut_off(bytes, "its header");
  return header;
}

std::string broken_pnm(Bytes bytes) {
  try {
    const PnmHeader header = read_pnm_header(bytes);
    // Binary samples are as long as the header says; text has at least a digit for each.
    const auto available = static_cast<std::int64_t>(bytes.size() - header.data);
    const std::int64_t row =
        header.kind > 3 ? row_bytes(header) : header.width * channels_of(header);
    if (header.height > available / row) {
      return fmt::format("is cut off: its {} bytes end before the last of {} rows", bytes.size(),
                         header.height);
    }
    if (header.kind <= 3 && header.width * header.height <= kMostPixels) decode_pnm(bytes);
    return "";
  } catch (const BrokenImage& broken) {
    return broken.what;
  }
}

Image decode_pnm(Bytes bytes) {
  const PnmHeader header = read_pnm_header(bytes);
  Image image(static_cast<int>(header.height), static_cast<int>(header.width), channels_of(header));
  const std::uint8_t* from = bytes.data() + header.data;
  if (header.kind <= 3) {
    decode_text(bytes, header, image);
  } else if (header.kind == 4) {
    decode_bits(from, image);
  } else {
    decode_samples(from, header.largest, image);
  }
  return image;
}

}  // namespace tapescope
