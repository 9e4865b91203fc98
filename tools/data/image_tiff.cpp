// TIFF by libtiff: the first picture of a file, 1 to 16 bits per sample.
#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <mutex>

#include "tools/data/decoders.h"
#include "tools/data/exif.h"

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

thread_local std::string reason;  // what the library said last

void keep_reason(const char*, const char* format, va_list arguments) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, arguments);
  reason = text;
}

struct Memory {
  Bytes bytes;
  std::uint64_t at = 0;
};
tmsize_t read_memory(thandle_t handle, void* to, tmsize_t size) {
  auto* memory = static_cast<Memory*>(handle);
  if (size < 0 || memory->at > memory->bytes.size()) return 0;
  const std::uint64_t n =
      std::min<std::uint64_t>(static_cast<std::uint64_t>(size), memory->bytes.size() - memory->at);
  if (n > 0) std::memcpy(to, memory->bytes.data() + memory->at, n);
  memory->at += n;
  return static_cast<tmsize_t>(n);
}
tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }
toff_t seek_memory(thandle_t handle, toff_t offset, int whence) {
  auto* memory = static_cast<Memory*>(handle);
  const std::uint64_t from = whence == SEEK_SET   ? 0
                             : whence == SEEK_CUR ? memory->at
                                                  : memory->bytes.size();
  return memory->at = from + offset;
}
int close_nothing(thandle_t) { return 0; }
toff_t size_of_memory(thandle_t handle) { return static_cast<Memory*>(handle)->bytes.size(); }

[[noreturn]] void stop() { throw BrokenImage{fmt::format("cannot be decoded ({})", reason)}; }

enum class Colours { white_is_zero, black_is_zero, rgb, palette, cmyk };

class Decoder {
 public:
  explicit Decoder(Bytes bytes) : memory_{bytes} {
    static std::once_flag once;
    std::call_once(once, [] {
      TIFFSetErrorHandler(keep_reason);
      TIFFSetWarningHandler(nullptr);
    });
    reason = "no reason given";
    tiff_.reset(TIFFClientOpen("picture", "rm", &memory_, read_memory, write_nothing, seek_memory,
                               close_nothing, size_of_memory, nullptr, nullptr));
    if (!tiff_) stop();
  }

  Image run() {
    look();
    image_ = Image(
        static_cast<int>(height_), static_cast<int>(width_),
        colours_ == Colours::rgb || colours_ == Colours::palette || colours_ == Colours::cmyk ? 3
                                                                                              : 1);
    const bool tiled = TIFFIsTiled(tiff_.get()) != 0;
    std::uint32_t block_width = width_, block_height = height_;
    if (tiled) {
      TIFFGetField(tiff_.get(), TIFFTAG_TILEWIDTH, &block_width);
      TIFFGetField(tiff_.get(), TIFFTAG_TILELENGTH, &block_height);
    } else {
      TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ROWSPERSTRIP, &block_height);
      block_height = std::min(block_height, height_);
    }
    if (block_width == 0 || block_height == 0) throw BrokenImage{"is corrupt: its parts are empty"};
    // A hostile file may claim tiles of any size.
    const std::uint64_t size =
        tiled ? TIFFTileSize64(tiff_.get()) : TIFFVStripSize64(tiff_.get(), block_height);
    const std::uint64_t samples = std::uint64_t{width_} * height_ * samples_ * 2;
    if (size == 0 || size > std::max<std::uint64_t>(2 * samples, 64u << 20)) {
      throw BrokenImage{
          fmt::format("is corrupt: its parts are {} x {} pixels", block_width, block_height)};
    }
    if (compression_ == COMPRESSION_NONE && size > memory_.bytes.size() && !tiled) {
      throw BrokenImage{fmt::format("is cut off: its {} bytes end before {} rows do",
                                    memory_.bytes.size(), block_height)};
    }
    block_.resize(size);
    const std::uint32_t planes = separate_ ? std::min<std::uint32_t>(samples_, 3) : 1;
    for (std::uint32_t plane = 0; plane < planes; ++plane) {
      for (std::uint32_t y = 0; y < height_; y += block_height) {
        const std::uint32_t rows = std::min(block_height, height_ - y);
        for (std::uint32_t x = 0; x < width_; x += block_width) {
          read_block(tiled, x, y, rows, plane);
          // Rows of separate planes hold one sample per pixel.
          const std::uint64_t row_bits =
              std::uint64_t{block_width} * bits_ * (separate_ ? 1 : samples_);
          const std::uint64_t stride = (row_bits + 7) / 8;
          if (stride * rows > block_.size()) throw BrokenImage{"is corrupt: its rows are too long"};
          for (std::uint32_t r = 0; r < rows; ++r) {
            take(&block_[r * stride], x, y + r, std::min(block_width, width_ - x), plane);
          }
          if (width_ - x <= block_width) break;  // no overflow
        }
        if (height_ - y <= block_height) break;
      }
    }
    return std::move(image_);
  }

 private:
  template <class T>
  T field(std::uint32_t tag, T otherwise) {
    T value = otherwise;
    return TIFFGetFieldDefaulted(tiff_.get(), tag, &value) == 1 ? value : otherwise;
  }

  void look_at_colours(std::uint16_t photometric) {
    std::uint32_t least = 1;
    switch (photometric) {
      case PHOTOMETRIC_MINISWHITE:
        colours_ = Colours::white_is_zero;
        break;
      case PHOTOMETRIC_MINISBLACK:
        colours_ = Colours::black_is_zero;
        break;
      case PHOTOMETRIC_RGB:
        colours_ = Colours::rgb;
        least = 3;
        break;
      case PHOTOMETRIC_PALETTE:
        colours_ = Colours::palette;
        if (bits_ > 8 ||
            TIFFGetField(tiff_.get(), TIFFTAG_COLORMAP, &map_[0], &map_[1], &map_[2]) != 1) {
          throw BrokenImage{"is corrupt: it has no palette"};
        }
        break;
      case PHOTOMETRIC_SEPARATED:
        colours_ = Colours::cmyk;
        least = 4;
        break;
      default:
        throw BrokenImage{fmt::format("has colours of kind {}, which are not read", photometric)};
    }
    if (samples_ < least || samples_ > 8 ||
        (colours_ == Colours::cmyk && (separate_ || bits_ < 8))) {
      throw BrokenImage{fmt::format("has {} samples of {} bits per pixel{}, which are not read",
                                    samples_, bits_, separate_ ? " in planes" : "")};
    }
  }

  // Sizes, depths and colours; refuses what is not read.
  void look() {
    width_ = field<std::uint32_t>(TIFFTAG_IMAGEWIDTH, 0);
    height_ = field<std::uint32_t>(TIFFTAG_IMAGELENGTH, 0);
    bits_ = field<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
    samples_ = field<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
    separate_ =
        field<std::uint16_t>(TIFFTAG_PLANARCONFIG, 1) == PLANARCONFIG_SEPARATE && samples_ > 1;
    compression_ = field<std::uint16_t>(TIFFTAG_COMPRESSION, 1);
    const auto format = field<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    auto photometric = field<std::uint16_t>(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    // libtiff names a codec that it was built without only when it is used.
    if (TIFFIsCODECConfigured(compression_) == 0 || compression_ == COMPRESSION_OJPEG) {
      throw BrokenImage{fmt::format("has compression {}, which is not read", compression_)};
    }
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) {
      throw BrokenImage{"has signed or floating point samples, which are not read"};
    }
    if (bits_ != 1 && bits_ != 2 && bits_ != 4 && bits_ != 8 && bits_ != 16) {
      throw BrokenImage{fmt::format("has {} bits per sample; 1, 2, 4, 8 and 16 are read", bits_)};
    }
    if (photometric == PHOTOMETRIC_YCBCR && compression_ == COMPRESSION_JPEG) {
      TIFFSetField(tiff_.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      photometric = PHOTOMETRIC_RGB;
    }
    // Without its palette libtiff takes a picture for a grey one.
    if (photometric != PHOTOMETRIC_PALETTE &&
        tiff_tag(memory_.bytes, TIFFTAG_PHOTOMETRIC) == PHOTOMETRIC_PALETTE) {
      throw BrokenImage{"is cut off or corrupt: its palette is missing"};
    }
    look_at_colours(photometric);
    std::uint16_t extra = 0;
    std::uint16_t* kinds = nullptr;
    if (TIFFGetField(tiff_.get(), TIFFTAG_EXTRASAMPLES, &extra, &kinds) == 1 && extra > 0) {
      premultiplied_ = kinds[0] == EXTRASAMPLE_ASSOCALPHA && colours_ == Colours::rgb &&
                       bits_ == 8 && !separate_ && samples_ > 3;
    }
  }

  void read_block(bool tiled, std::uint32_t x, std::uint32_t y, std::uint32_t rows,
                  std::uint32_t plane) {
    const auto part = static_cast<std::uint16_t>(plane);
    const tmsize_t wanted =
        tiled ? static_cast<tmsize_t>(block_.size()) : TIFFVStripSize(tiff_.get(), rows);
    const tmsize_t got =
        tiled ? TIFFReadEncodedTile(tiff_.get(), TIFFComputeTile(tiff_.get(), x, y, 0, part),
                                    block_.data(), wanted)
              : TIFFReadEncodedStrip(tiff_.get(), TIFFComputeStrip(tiff_.get(), y, part),
                                     block_.data(), wanted);
    if (got < 0) stop();
    if (got < wanted) throw BrokenImage{fmt::format("is cut off: row {} is not whole", y)};
  }

  // Sample `i` of a row: its upper byte, or all of its bits.
  unsigned sample(const std::uint8_t* row, std::size_t i) const {
    if (bits_ == 8) return row[i];
    if (bits_ == 16) {
      std::uint16_t value = 0;
      std::memcpy(&value, row + 2 * i, 2);
      return value >> 8u;
    }
    const std::size_t per_byte = 8u / bits_;
    return row[i / per_byte] >> (bits_ * (per_byte - 1 - i % per_byte)) & ((1u << bits_) - 1);
  }

  void take(const std::uint8_t* row, std::uint32_t x0, std::uint32_t y, std::uint32_t count,
            std::uint32_t plane) {
    const unsigned scale = bits_ >= 8 ? 1 : 255u / ((1u << bits_) - 1);
    for (std::uint32_t x = 0; x < count; ++x) {
      std::uint8_t* to = image_.at(static_cast<int>(y), static_cast<int>(x0 + x));
      const std::size_t first = separate_ ? x : std::size_t{x} * samples_;
      const auto level = [&](std::size_t s) {
        return static_cast<std::uint8_t>(sample(row, first + s) * scale);
      };
      switch (colours_) {
        case Colours::white_is_zero:
          if (plane == 0) to[0] = static_cast<std::uint8_t>(255 - level(0));
          break;
        case Colours::black_is_zero:
          if (plane == 0) to[0] = level(0);
          break;
        case Colours::palette:
          if (plane > 0) break;
          for (int c = 0; c < 3; ++c) {
            to[c] = static_cast<std::uint8_t>(map_[c][sample(row, first)] >> 8);
          }
          break;
        case Colours::cmyk: {
          const std::uint8_t ink[] = {level(0), level(1), level(2), level(3)};
          cmyk_to_rgb(ink, to);
          break;
        }
        case Colours::rgb:
          if (separate_) {
            to[plane] = level(0);
            break;
          }
          for (std::size_t c = 0; c < 3; ++c) to[c] = level(c);
          if (premultiplied_) divide(to, level(3));
          break;
      }
    }
  }

  static void divide(std::uint8_t* colour, unsigned alpha) {
    if (alpha == 255) return;
    for (int c = 0; c < 3; ++c) {
      colour[c] =
          static_cast<std::uint8_t>(alpha == 0 ? 0 : std::min(255u, 255u * colour[c] / alpha));
    }
  }

  struct Close {
    void operator()(TIFF* tiff) const { TIFFClose(tiff); }
  };
  Memory memory_;
  std::unique_ptr<TIFF, Close> tiff_;
  std::uint32_t width_ = 0, height_ = 0;
  std::uint16_t bits_ = 1, samples_ = 1, compression_ = COMPRESSION_NONE;
  bool separate_ = false;       // a plane for each sample
  bool premultiplied_ = false;  // colours are stored times their alpha
  Colours colours_ = Colours::black_is_zero;
  std::uint16_t* map_[3] = {};
  std::vector<std::uint8_t> block_;  // a strip or tile
  Image image_;
};

}  // namespace

Image decode_tiff(Bytes bytes) { return Decoder(bytes).run(); }

std::string tiff_version() {
  const std::string text = TIFFGetVersion();  // "LIBTIFF, Version 4.5.0\nCopyright ..."
  const std::size_t at = text.find("Version ");
  return "libtiff " +
         (at == std::string::npos ? text : text.substr(at + 8, text.find('\n') - at - 8));
}

}  // namespace tapescope
