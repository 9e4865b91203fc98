// One function a picture format: from a whole file in memory to pixels.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "tools/data/image.h"

namespace tapescope {

// What is wrong with a file, as the end of a sentence about it ("is cut off: ...").
struct BrokenImage {
  std::string what;
};

// The stored picture, unturned, as 1 channel where it is grey and as 3 otherwise. `bytes` have
// passed check_image. Throws BrokenImage.
Image decode_jpeg(std::span<const std::uint8_t> bytes);
Image decode_png(std::span<const std::uint8_t> bytes);
Image decode_bmp(std::span<const std::uint8_t> bytes);
Image decode_webp(std::span<const std::uint8_t> bytes);
Image decode_tiff(std::span<const std::uint8_t> bytes);

// "libjpeg-turbo 2.1.5" and the like; empty where the program was built without the library.
std::string jpeg_version();
std::string stb_version();
std::string webp_version();
std::string tiff_version();

// c, m, y, k, 255 being full ink, to red, green, blue, rounded as Pillow does.
inline void cmyk_to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb) {
  const int light = 255 - cmyk[3];
  for (int c = 0; c < 3; ++c) {
    const int product = cmyk[c] * light + 128;
    rgb[c] = static_cast<std::uint8_t>(light - (((product >> 8) + product) >> 8));
  }
}

}  // namespace tapescope
