// Decoded pictures: 8-bit, interleaved channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tapescope {

// Pixels {H, W, C}, row-major; C is 1 (grey) or 3 (red, green, blue).
struct Image {
  int height = 0;
  int width = 0;
  int channels = 3;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  Image(int height, int width, int channels, std::uint8_t fill = 0);
  std::uint8_t* at(int y, int x) { return pixels.data() + offset(y, x); }
  const std::uint8_t* at(int y, int x) const { return pixels.data() + offset(y, x); }

 private:
  std::size_t offset(int y, int x) const {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
            static_cast<std::size_t>(x)) *
           static_cast<std::size_t>(channels);
  }
};

// Pixels {H, W, C} owned by somebody else: by `owner`, or, where it is empty, by the data set that
// handed the view out.
struct ImageView {
  int height = 0;
  int width = 0;
  int channels = 0;
  const std::uint8_t* pixels = nullptr;  // {H, W, C}
  std::shared_ptr<const Image> owner;
};
// The view does not own the image's memory.
ImageView view_of(const Image& image);
Image copy_of(const ImageView& view);

// Reads a JPEG (baseline or progressive), PNG, BMP or binary PPM/PGM file as `channels` (1 or 3)
// channels. Grey becomes three equal channels, colour becomes grey by the usual luma weights,
// 16-bit samples keep their upper byte. Alpha is dropped: the stored colour is used as it is,
// composited on nothing. A JPEG's EXIF orientation is not applied (torchvision does not either).
//
// Throws a usage error that names the file where it is missing, empty, of another format, cut off,
// corrupt or of more than 200 million pixels. A JPEG or PNG that ends early is an error even where
// a decoder could fill in the rest.
Image read_image(const std::filesystem::path& path, int channels = 3);

// The same from memory; `name` is what errors call it.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, int channels = 3);

// From the file's header alone: whether the rest is whole is seen when it is read. Same errors.
struct ImageSize {
  int height = 0, width = 0;
};
ImageSize read_image_size(const std::filesystem::path& path);
// The same of a file's first bytes; 0 x 0 where they do not tell.
ImageSize image_size_in(std::span<const std::uint8_t> bytes);

// Checks the file's structure without decoding: format, chunk lengths and checksums (PNG), markers
// up to the end of the picture (JPEG), enough bytes for the pixels (BMP, PPM/PGM). Same errors.
void check_image(std::span<const std::uint8_t> bytes, const std::string& name);

// Whole file; throws a usage error where it cannot be read.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path);

// True for extensions that name a picture, any case, including formats that are not read (.webp,
// .gif, .tif): such a file in a data set must be an error, not passed over in silence.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace tapescope
