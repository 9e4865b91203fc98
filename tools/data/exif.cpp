#include "tools/data/exif.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;
using namespace std::string_view_literals;

constexpr int kOrientation = 0x0112;
constexpr int kXmp = 700;

bool starts_with(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// Numbers of a file that says itself which end comes first; 0 beyond its end.
struct Words {
  Bytes bytes;
  bool big_endian;
  std::uint64_t at(std::uint64_t offset, int size) const {
    if (offset > bytes.size() || static_cast<std::uint64_t>(size) > bytes.size() - offset) return 0;
    std::uint64_t value = 0;
    for (int i = 0; i < size; ++i) {
      value =
          value << 8 | bytes[offset + static_cast<std::uint64_t>(big_endian ? i : size - 1 - i)];
    }
    return value;
  }
};

struct Entry {
  int type = 0;
  std::uint64_t count = 0, value_at = 0;  // where the value, or its offset, stands
};

std::optional<Entry> find_entry(const Words& words, int tag) {
  const bool big = words.at(2, 2) == 43;  // BigTIFF: offsets of 8 bytes
  const int offset_size = big ? 8 : 4;
  const std::uint64_t directory = words.at(big ? 8 : 4, offset_size);
  const std::uint64_t count = std::min<std::uint64_t>(words.at(directory, big ? 8 : 2), 65535);
  const std::uint64_t each = big ? 20 : 12;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = directory + (big ? 8 : 2) + i * each;
    if (at + each > words.bytes.size() || at < directory) break;
    if (words.at(at, 2) != static_cast<std::uint64_t>(tag)) continue;
    return Entry{static_cast<int>(words.at(at + 2, 2)), words.at(at + 4, offset_size),
                 at + 4 + static_cast<std::uint64_t>(offset_size)};
  }
  return {};
}

std::optional<Words> words_of(Bytes tiff) {
  if (starts_with(tiff, "II*\0"sv) || starts_with(tiff, "II+\0"sv)) return Words{tiff, false};
  if (starts_with(tiff, "MM\0*"sv) || starts_with(tiff, "MM\0+"sv)) return Words{tiff, true};
  return {};
}

// What the metadata of a file say; the first of each kind counts.
class Notes {
 public:
  void exif(Bytes tiff) {
    if (starts_with(tiff, "Exif\0\0"sv)) tiff = tiff.subspan(6);
    if (!exif_) exif_ = tiff_tag(tiff, kOrientation);
  }
  void xmp(Bytes text) {
    if (xmp_) return;
    const std::string_view all(reinterpret_cast<const char*>(text.data()), text.size());
    for (std::string_view key : {"tiff:Orientation=\""sv, "tiff:Orientation>"sv}) {
      const std::size_t at = all.find(key);
      if (at == std::string_view::npos || at + key.size() >= all.size()) continue;
      xmp_ = all[at + key.size()] - '0';
      return;
    }
  }
  int orientation() const {
    const std::int64_t said = exif_ ? *exif_ : xmp_.value_or(1);
    return said >= 1 && said <= 8 ? static_cast<int>(said) : 1;
  }

 private:
  std::optional<std::int64_t> exif_, xmp_;
};

void read_jpeg(Bytes bytes, Notes& notes) {
  const Words words{bytes, true};
  for (std::size_t at = 2; at + 4 <= bytes.size();) {
    if (bytes[at] != 0xff || bytes[at + 1] == 0xda || bytes[at + 1] == 0xd9) return;
    if (bytes[at + 1] == 0xff) {  // fill bytes
      ++at;
      continue;
    }
    const std::size_t length = words.at(at + 2, 2);
    if (length < 2 || at + 2 + length > bytes.size()) return;
    const Bytes segment = bytes.subspan(at + 4, length - 2);
    if (bytes[at + 1] == 0xe1 && starts_with(segment, "Exif\0"sv)) notes.exif(segment);
    if (bytes[at + 1] == 0xe1 && starts_with(segment, "http://ns.adobe.com/xap/1.0/\0"sv)) {
      notes.xmp(segment);
    }
    at += 2 + length;
  }
}

void read_png(Bytes bytes, Notes& notes) {
  const Words words{bytes, true};
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    const std::size_t length = words.at(at, 4);
    if (length > bytes.size() - at - 12) return;
    const Bytes chunk = bytes.subspan(at + 8, length);
    if (starts_with(bytes.subspan(at + 4), "eXIf")) notes.exif(chunk);
    // Its text may be compressed, but is not in what programs write.
    if (starts_with(bytes.subspan(at + 4), "iTXt") &&
        starts_with(chunk, "XML:com.adobe.xmp\0\0"sv)) {
      notes.xmp(chunk);
    }
    at += 12 + length;
  }
}

void read_webp(Bytes bytes, Notes& notes) {
  const Words words{bytes, false};
  for (std::size_t at = 12; at + 8 <= bytes.size();) {
    const std::size_t length = words.at(at + 4, 4);
    if (length > bytes.size() - at - 8) return;
    const Bytes chunk = bytes.subspan(at + 8, length);
    if (starts_with(bytes.subspan(at), "EXIF")) notes.exif(chunk);
    if (starts_with(bytes.subspan(at), "XMP ")) notes.xmp(chunk);
    at += 8 + length + length % 2;
  }
}

void read_tiff(Bytes bytes, Notes& notes) {
  notes.exif(bytes);
  const std::optional<Words> words = words_of(bytes);
  const std::optional<Entry> entry = words ? find_entry(*words, kXmp) : std::nullopt;
  if (!entry) return;
  const std::uint64_t at = words->at(entry->value_at, words->at(2, 2) == 43 ? 8 : 4);
  if (at < bytes.size()) {
    notes.xmp(bytes.subspan(at, std::min<std::uint64_t>(entry->count, bytes.size() - at)));
  }
}

}  // namespace

std::optional<std::int64_t> tiff_tag(Bytes tiff, int tag) {
  const std::optional<Words> words = words_of(tiff);
  const std::optional<Entry> entry = words ? find_entry(*words, tag) : std::nullopt;
  if (!entry || entry->count == 0) return {};
  const int size = entry->type == 3 ? 2 : entry->type == 4 ? 4 : entry->type == 16 ? 8 : 1;
  return static_cast<std::int64_t>(words->at(entry->value_at, size));
}

int orientation_of(ImageFormat format, Bytes bytes) {
  Notes notes;
  switch (format) {
    case ImageFormat::jpeg:
      read_jpeg(bytes, notes);
      break;
    case ImageFormat::png:
      read_png(bytes, notes);
      break;
    case ImageFormat::webp:
      read_webp(bytes, notes);
      break;
    case ImageFormat::tiff:
      read_tiff(bytes, notes);
      break;
    default:
      break;
  }
  return notes.orientation();
}

ImageSize upright(ImageSize size, int orientation) {
  if (orientation >= 5) std::swap(size.height, size.width);
  return size;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1) return image;
  const ImageSize size = upright(ImageSize{image.height, image.width}, orientation);
  Image turned(size.height, size.width, image.channels);
  const int bottom = image.height - 1, right = image.width - 1;
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x) {
      int from_y = orientation >= 5 ? x : y, from_x = orientation >= 5 ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        from_y = bottom - from_y;
      }
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
        from_x = right - from_x;
      }
      std::copy_n(image.at(from_y, from_x), image.channels, turned.at(y, x));
    }
  }
  return turned;
}

}  // namespace tapescope
