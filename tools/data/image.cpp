#include "tools/data/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "tools/data/image_format.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace tapescope {
namespace {

constexpr std::int64_t kMaxPixels = 200'000'000;

constexpr const char* kRemedy = "replace or remove the file";

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

std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    throw usage_error("{}: cannot be read ({}); check the path and its permissions", path.string(),
                      std::strerror(errno));
  }
  struct stat state = {};
  if (::fstat(file, &state) != 0 || S_ISDIR(state.st_mode)) {
    ::close(file);
    throw usage_error("{}: is a folder, not a file; name a file in it", path.string());
  }
  // A file without a size of its own (a pipe) grows as it is read.
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(std::max<off_t>(state.st_size, 0)) + 1);
  std::size_t used = 0;
  while (true) {
    if (used == bytes.size()) bytes.resize(bytes.size() * 2 + 4096);
    const ssize_t n = ::read(file, bytes.data() + used, bytes.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      ::close(file);
      throw usage_error("{}: reading failed ({}); check the disk or copy the file again",
                        path.string(), std::strerror(error));
    }
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  ::close(file);
  bytes.resize(used);
  return bytes;
}

void check_image(std::span<const std::uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) throw usage_error("{}: is empty (0 bytes); {}", name, kRemedy);
  const Sniffed sniffed = sniff_image(bytes);
  if (sniffed.format == ImageFormat::unknown) {
    throw usage_error("{}: is not a picture (JPEG, PNG, BMP and binary PPM/PGM are read); {}", name,
                      kRemedy);
  }
  if (sniffed.format == ImageFormat::known_but_not_read) {
    throw usage_error("{}: is a {} picture, a format that is not read; convert it to PNG or JPEG",
                      name, sniffed.name);
  }
  const std::string broken = broken_structure(sniffed.format, bytes);
  if (!broken.empty())
    throw usage_error("{}: this {} file {}; {}", name, sniffed.name, broken, kRemedy);
}

Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, int channels) {
  if (channels != 1 && channels != 3) {
    throw usage_error("{}: a picture is read as 1 or 3 channels, not {}", name, channels);
  }
  check_image(bytes, name);
  if (bytes.size() > static_cast<std::size_t>(INT32_MAX)) {
    throw usage_error("{}: is {} bytes long, and pictures of up to 2 GiB are read; make it smaller",
                      name, bytes.size());
  }
  const int size = static_cast<int>(bytes.size());
  int width = 0;
  int height = 0;
  int stored = 0;
  if (stbi_info_from_memory(bytes.data(), size, &width, &height, &stored) != 0 &&
      std::int64_t{width} * height > kMaxPixels) {
    throw usage_error(
        "{}: is {} x {} pixels, and up to {} million pixels are read; make it smaller", name, width,
        height, kMaxPixels / 1'000'000);
  }
  stbi_uc* decoded = stbi_load_from_memory(bytes.data(), size, &width, &height, &stored, channels);
  if (decoded == nullptr) {
    const char* reason = stbi_failure_reason();
    throw usage_error("{}: this {} file cannot be decoded ({}); {}", name, sniff_image(bytes).name,
                      reason != nullptr ? reason : "no reason given", kRemedy);
  }
  Image image;
  image.height = height;
  image.width = width;
  image.channels = channels;
  image.pixels.assign(decoded, decoded + static_cast<std::size_t>(height) *
                                             static_cast<std::size_t>(width) *
                                             static_cast<std::size_t>(channels));
  stbi_image_free(decoded);
  return image;
}

Image read_image(const std::filesystem::path& path, int channels) {
  return decode_image(read_bytes(path), path.string(), channels);
}

ImageSize image_size_in(std::span<const std::uint8_t> bytes) {
  ImageSize size;
  int stored = 0;
  const bool told = bytes.size() <= static_cast<std::size_t>(INT32_MAX) &&
                    stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &size.width,
                                          &size.height, &stored) != 0;
  return told ? size : ImageSize{};
}

ImageSize read_image_size(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> bytes;
  // Most headers are short; a camera's notes and thumbnails may come first.
  for (std::size_t room = 4096; room <= static_cast<std::size_t>(INT32_MAX); room *= 8) {
    const std::size_t had = bytes.size();
    bytes.resize(room);
    file.read(reinterpret_cast<char*>(bytes.data() + had),
              static_cast<std::streamsize>(room - had));
    bytes.resize(had + static_cast<std::size_t>(file.gcount()));
    if (const ImageSize size = image_size_in(bytes); size.height > 0) return size;
    if (bytes.size() < room) break;
  }
  check_image(read_bytes(path), path.string());  // says what is wrong, but of a broken header
  throw usage_error("{}: its header gives no picture size; {}", path.string(), kRemedy);
}

bool has_image_extension(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 15> kExtensions = {
      ".jpg", ".jpeg", ".jpe", ".png",  ".bmp",  ".ppm",  ".pgm", ".pnm",
      ".gif", ".webp", ".tif", ".tiff", ".heic", ".avif", ".jfif"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace tapescope
