// PNG, and BMP of 16 bits per pixel and more, by stb_image. What it trusts too far is checked
// first.
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "tools/data/decoders.h"

namespace {

// stb_image inflates as long as the data say so; this refuses what no picture of that size needs.
thread_local std::size_t largest_block = 0;
void* grown(void* block, std::size_t size) {
  return size > largest_block ? nullptr : std::realloc(block, size);
}

}  // namespace

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MALLOC(size) std::malloc(size)
#define STBI_REALLOC(block, size) grown(block, size)
#define STBI_FREE(block) std::free(block)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace tapescope {
namespace {

using Bytes = std::span<const std::uint8_t>;

Image decode(Bytes bytes) {
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, stored = 0;
  stbi_info_from_memory(bytes.data(), size, &width, &height, &stored);
  const int channels = stored <= 2 ? 1 : 3;
  stbi_uc* decoded = stbi_load_from_memory(bytes.data(), size, &width, &height, &stored, channels);
  if (decoded == nullptr) {
    const char* reason = stbi_failure_reason();
    throw BrokenImage{fmt::format("cannot be decoded ({})", reason ? reason : "no reason given")};
  }
  Image image;
  image.height = height;
  image.width = width;
  image.channels = channels;
  image.pixels.assign(decoded, decoded + static_cast<std::size_t>(height) *
                                             static_cast<std::size_t>(width) *
                                             static_cast<std::size_t>(channels));
  std::free(decoded);
  return image;
}

std::uint32_t big_endian(const std::uint8_t* b) {
  return static_cast<std::uint32_t>(b[0]) << 24 | static_cast<std::uint32_t>(b[1]) << 16 |
         static_cast<std::uint32_t>(b[2]) << 8 | b[3];
}

// A palette shorter than the indices reach is filled up with black: stb_image would read memory
// that nothing was written to. Empty where nothing need be done.
std::vector<std::uint8_t> with_full_palette(Bytes png) {
  const int bits = png[24];
  if (png[25] != 3 || bits > 8) return {};
  const std::size_t wanted = (std::size_t{1} << bits) * 3;
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length = big_endian(&png[at]);
    if (length > png.size() - at - 12) return {};  // behind IEND, where anything may follow
    if (std::memcmp(&png[at + 4], "PLTE", 4) == 0) {
      if (length >= wanted) return {};
      std::vector<std::uint8_t> full(png.begin(),
                                     png.begin() + static_cast<std::ptrdiff_t>(at + 8 + length));
      full.resize(at + 8 + wanted);  // black; checksums have been looked at before
      full[at] = 0;
      full[at + 1] = 0;
      full[at + 2] = static_cast<std::uint8_t>(wanted >> 8);
      full[at + 3] = static_cast<std::uint8_t>(wanted);
      full.insert(full.end(), png.begin() + static_cast<std::ptrdiff_t>(at + 8 + length),
                  png.end());
      return full;
    }
    at += 12 + length;
  }
  return {};
}

}  // namespace

Image decode_png(Bytes bytes) {
  constexpr std::size_t kChannels[] = {1, 0, 3, 1, 2, 0, 4};
  const std::size_t width = big_endian(&bytes[16]), height = big_endian(&bytes[20]);
  const std::size_t channels = bytes[25] < 7 ? kChannels[bytes[25]] : 0;
  const std::size_t row = (width * channels * bytes[24] + 7) / 8 + 1;
  // Deflate makes nothing more than 1032 times as small.
  if (bytes.size() < (row - 1) * height / 1032) {
    throw BrokenImage{fmt::format("is cut off or corrupt: {} bytes cannot hold {} x {} pixels",
                                  bytes.size(), width, height)};
  }
  // Rows with their filters' bytes, those of interlaced parts too; stb_image doubles its blocks.
  largest_block = 2 * std::max(2 * (row + 8) * (height + 8), bytes.size() + 4096);
  const std::vector<std::uint8_t> full = with_full_palette(bytes);
  try {
    return decode(full.empty() ? bytes : Bytes(full));
  } catch (const BrokenImage& broken) {
    if (broken.what.find("outofmem") == std::string::npos &&
        broken.what.find("Out of memory") == std::string::npos) {
      throw;
    }
    throw BrokenImage{fmt::format(
        "is corrupt or made to fill memory: its data inflate to more than {} x {} pixels need",
        width, height)};
  }
}

Image decode_deep_bmp(Bytes bytes) {
  largest_block = SIZE_MAX;
  return decode(bytes);
}

std::string stb_version() { return "stb_image " TAPESCOPE_STB_VERSION; }

}  // namespace tapescope
