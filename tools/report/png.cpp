#include "tools/report/png.h"

#include <cstdlib>
#include <span>

#include "engine/error.h"
#include "tools/files/atomic_file.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb_image_write.h>
#pragma GCC diagnostic pop

namespace tapescope {
namespace {

// pixels: u8 {height, width, channels}
std::vector<std::uint8_t> encode(const std::uint8_t* pixels, int height, int width, int channels) {
  if (height <= 0 || width <= 0 || channels < 1 || channels > 4) {
    throw usage_error(
        "a PNG of {} x {} pixels and {} channels cannot be written; sizes start at 1 "
        "and channels are 1 to 4",
        width, height, channels);
  }
  int size = 0;
  unsigned char* bytes =
      stbi_write_png_to_mem(pixels, width * channels, width, height, channels, &size);
  if (bytes == nullptr)
    throw failure("encoding a PNG of {} x {} pixels failed: out of memory", width, height);
  std::vector<std::uint8_t> out(bytes, bytes + size);
  std::free(bytes);
  return out;
}

}  // namespace

std::vector<std::uint8_t> encode_png(const Image& image) {
  return encode(image.pixels.data(), image.height, image.width, image.channels);
}

void write_png(const std::filesystem::path& path, const std::uint8_t* pixels, int height, int width,
               int channels) {
  const auto bytes = encode(pixels, height, width, channels);
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(bytes))};
  write_atomically(path, parts, Outlives::kill);
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_png(path, image.pixels.data(), image.height, image.width, image.channels);
}

}  // namespace tapescope
