#include "tools/data/image.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/error.h"
#include "tools/data/decoders.h"
#include "tools/data/exif.h"
#include "tools/data/image_format.h"
#include "tools/data/pnm.h"
#include "tools/data/recolour.h"

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr const char* kRemedy = "replace or remove the file";
constexpr std::size_t kMostBytes = INT32_MAX;  // what every decoder can count

// A format that a build may lack.
void expect_built_with(const std::string& library, const Sniffed& sniffed, const char* package,
                       const std::string& name) {
  if (!library.empty()) return;
  throw usage_error(
      "{}: is a {} picture, and this program was built without {}; install it and build again, or "
      "convert the picture to PNG",
      name, sniffed.name, package);
}

Image decode(ImageFormat format, Bytes bytes) {
  switch (format) {
    case ImageFormat::jpeg:
      return decode_jpeg(bytes);
    case ImageFormat::png:
      return decode_png(bytes);
    case ImageFormat::bmp:
      return decode_bmp(bytes);
    case ImageFormat::pnm:
      return decode_pnm(bytes);
    case ImageFormat::webp:
      return decode_webp(bytes);
    case ImageFormat::tiff:
      return decode_tiff(bytes);
    default:
      throw BrokenImage{"is not read"};
  }
}

}  // namespace

Image::Image(int height_, int width_, int channels_, std::uint8_t fill)
    : height(height_),
      width(width_),
      channels(channels_),
      pixels(static_cast<std::size_t>(height_) * static_cast<std::size_t>(width_) *
                 static_cast<std::size_t>(channels_),
             fill) {}

Image copy_of(const ImageView& view) {
  Image image(view.height, view.width, view.channels);
  std::copy_n(view.pixels, image.pixels.size(), image.pixels.begin());
  return image;
}

ImageView view_of(const Image& image) {
  return {image.height, image.width, image.channels, image.pixels.data(), nullptr};
}

Exif exif_from_name(const std::string& name) {
  if (name == "apply") return Exif::apply;
  if (name == "ignore") return Exif::ignore;
  throw usage_error("--exif is '{}'; it is apply or ignore", name);
}

std::string name_of(Exif exif) { return exif == Exif::apply ? "apply" : "ignore"; }

std::vector<std::string> decoder_versions() {
  std::vector<std::string> all = {jpeg_version(), stb_version()};
  for (std::string optional : {webp_version(), tiff_version()}) {
    if (!optional.empty()) all.push_back(std::move(optional));
  }
  return all;
}

void check_pixels(std::int64_t height, std::int64_t width, const std::string& name) {
  constexpr std::int64_t kLongest = 1 << 15;  // pixels of a side, as a pipeline's sizes
  if (height > kMostPixels / std::max<std::int64_t>(width, 1)) {
    throw usage_error(
        "{}: is {} x {} pixels, and up to {} million pixels are read; make it smaller", name, width,
        height, kMostPixels / 1'000'000);
  }
  if (std::max(height, width) <= kLongest) return;
  throw usage_error("{}: is {} x {} pixels, and sides of up to {} are read; cut it in pieces", name,
                    width, height, kLongest);
}

int image_orientation(Bytes bytes) { return orientation_of(sniff_image(bytes).format, bytes); }

void check_image(Bytes bytes, const std::string& name) {
  if (bytes.empty()) throw usage_error("{}: is empty (0 bytes); {}", name, kRemedy);
  const Sniffed sniffed = sniff_image(bytes);
  if (sniffed.format == ImageFormat::unknown) {
    throw usage_error(
        "{}: is not a picture (JPEG, PNG, BMP, PBM, PGM, PPM, WebP and TIFF are read); {}", name,
        kRemedy);
  }
  if (sniffed.format == ImageFormat::known_but_not_read) {
    throw usage_error(
        "{}: is a picture of a format that is not read, {}; convert it to PNG or JPEG", name,
        sniffed.name);
  }
  if (sniffed.format == ImageFormat::webp) {
    expect_built_with(webp_version(), sniffed, "libwebp-dev", name);
  }
  if (sniffed.format == ImageFormat::tiff) {
    expect_built_with(tiff_version(), sniffed, "libtiff-dev", name);
  }
  if (const std::string broken = broken_structure(sniffed.format, bytes); !broken.empty()) {
    throw usage_error("{}: this {} file {}; {}", name, sniffed.name, broken, kRemedy);
  }
  const std::optional<ImageSize> size = stored_size(sniffed.format, bytes);
  if (!size) {
    throw usage_error("{}: the header of this {} file gives no picture size; {}", name,
                      sniffed.name, kRemedy);
  }
  check_pixels(size->height, size->width, name);
}

Image decode_image(Bytes bytes, const std::string& name, int channels, Exif exif) {
  if (channels != 1 && channels != 3) {
    throw usage_error("{}: a picture is read as 1 or 3 channels, not {}", name, channels);
  }
  check_image(bytes, name);
  const Sniffed sniffed = sniff_image(bytes);
  try {
    Image image = decode(sniffed.format, bytes);
    if (exif == Exif::apply) {
      image = upright(std::move(image), orientation_of(sniffed.format, bytes));
    }
    if (image.channels == channels) return image;
    return recoloured(view_of(image), channels);
  } catch (const BrokenImage& broken) {
    throw usage_error("{}: this {} file {}; {}", name, sniffed.name, broken.what, kRemedy);
  }
}

Image read_image(const std::filesystem::path& path, int channels, Exif exif) {
  return decode_image(read_bytes(path, kMostBytes), path.string(), channels, exif);
}

ImageSize image_size_in(Bytes bytes, Exif exif) {
  const ImageFormat format = sniff_image(bytes).format;
  const std::optional<ImageSize> size = stored_size(format, bytes);
  if (!size) return {};
  return exif == Exif::apply ? upright(*size, orientation_of(format, bytes)) : *size;
}

MeasuredImage measure_image(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> bytes = read_header_bytes(path);
  const Sniffed sniffed = sniff_image(bytes);
  const std::optional<ImageSize> size = stored_size(sniffed.format, bytes);
  if (!size) {
    check_image(read_bytes(path, kMostBytes), path.string());  // says what is wrong
    throw usage_error("{}: its header gives no picture size; {}", path.string(), kRemedy);
  }
  check_pixels(size->height, size->width, path.string());
  const int orientation = orientation_of(sniffed.format, bytes);
  return {orientation, *size, upright(*size, orientation)};
}

ImageSize read_image_size(const std::filesystem::path& path, Exif exif) {
  const MeasuredImage measured = measure_image(path);
  return exif == Exif::apply ? measured.turned : measured.stored;
}

bool has_image_extension(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 16> kExtensions = {
      ".jpg", ".jpeg", ".jpe",  ".png", ".bmp",  ".ppm",  ".pgm",  ".pbm",
      ".pnm", ".gif",  ".webp", ".tif", ".tiff", ".heic", ".avif", ".jfif"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace tapescope
