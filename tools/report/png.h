// Writing pictures as PNG.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "tools/data/image.h"

namespace tapescope {

// Deterministic: equal pixels give equal bytes. Throws a failure where the file cannot be written.
void write_png(const std::filesystem::path& path, const Image& image);
// pixels: u8 {height, width, channels}, channels 1 to 4.
void write_png(const std::filesystem::path& path, const std::uint8_t* pixels, int height, int width,
               int channels);
// The file's bytes, for embedding in a page.
std::vector<std::uint8_t> encode_png(const Image& image);

}  // namespace tapescope
