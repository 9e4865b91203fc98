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

struct FileStamp;

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

// No picture, frame of a stream or inflated file may have more pixels.
constexpr std::int64_t kMostPixels = 200'000'000;

// What a noted orientation (EXIF, XMP; of JPEG, PNG, WebP, TIFF) does: cameras write it instead of
// turning their pixels. People and labelling tools see pictures with it applied; torchvision and
// models trained by it do not.
enum class Exif : unsigned char { ignore, apply };
// "apply" or "ignore"; a usage error for another word.
Exif exif_from_name(const std::string& name);
std::string name_of(Exif exif);

// Reads a picture file as `channels` (1 or 3) channels: JPEG, PNG, BMP, PBM, PGM, PPM and, where
// their libraries were there at the build, WebP and TIFF; README.md has a table of their forms.
// Grey becomes three equal channels, colour becomes grey by the usual luma weights, 16-bit samples
// keep their upper byte. Alpha is dropped: the stored colour is used as it is, composited on
// nothing.
//
// Throws a usage error that names the file where it is missing, no regular file, empty, of another
// format, cut off, corrupt, or of more than kMostPixels pixels. What ends early is an error even
// where a decoder could fill in the rest.
Image read_image(const std::filesystem::path& path, int channels = 3, Exif exif = Exif::apply);

// The same from memory; `name` is what errors call it.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name, int channels = 3,
                   Exif exif = Exif::apply);

// From the file's header alone: whether the rest is whole is seen when it is read. Same errors.
struct ImageSize {
  int height = 0, width = 0;
};
ImageSize read_image_size(const std::filesystem::path& path, Exif exif = Exif::apply);
// The same of a file's first bytes; 0 x 0 where they do not tell.
ImageSize image_size_in(std::span<const std::uint8_t> bytes, Exif exif = Exif::apply);
struct MeasuredImage {
  int orientation = 1;       // as image_orientation
  ImageSize stored, turned;  // without and with it
};
MeasuredImage measure_image(const std::filesystem::path& path);

// Checks the file's structure without decoding: format, size, chunk lengths and checksums (PNG),
// markers up to the end of the picture (JPEG), enough bytes for the pixels (BMP, PNM, WebP). Same
// errors.
void check_image(std::span<const std::uint8_t> bytes, const std::string& name);

// 1 (upright) to 8, as EXIF counts them; 1 for what is no picture.
int image_orientation(std::span<const std::uint8_t> bytes);

// Refuses more than kMostPixels of them, or 32,768 of a side, in a usage error about `name`.
void check_pixels(std::int64_t height, std::int64_t width, const std::string& name);

// Libraries that decode pictures, with their versions: "libjpeg-turbo 2.1.5", "stb_image 2.27", ...
std::vector<std::string> decoder_versions();

// Whole file; a usage error where it cannot be read, is longer than `most` bytes, or is no regular
// file: pipes and devices are refused without waiting for them.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path,
                                     std::size_t most = SIZE_MAX);
// `bytes` of it from `offset` on. A usage error as well where the file is not the one that had
// `stamp`, its `changed` aside, or ends before.
std::vector<std::uint8_t> read_part(const std::filesystem::path& path, std::int64_t offset,
                                    std::int64_t bytes, const FileStamp& stamp);

// True for extensions that name a picture, any case, including formats that are not read (.gif,
// .heic): such a file in a data set must be an error, not passed over in silence.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace tapescope
