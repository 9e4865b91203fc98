// WebP by libwebp.
#include <fmt/format.h>
#include <webp/decode.h>

#include "tools/data/decoders.h"

namespace tapescope {

Image decode_webp(std::span<const std::uint8_t> bytes) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) throw BrokenImage{"meets another libwebp at run time"};
  VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &config.input);
  Image image;
  if (status == VP8_STATUS_OK) {
    image = Image(config.input.height, config.input.width, 3);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image.pixels.data();
    config.output.u.RGBA.stride = image.width * 3;
    config.output.u.RGBA.size = image.pixels.size();
    status = WebPDecode(bytes.data(), bytes.size(), &config);
  }
  switch (status) {
    case VP8_STATUS_OK:
      return image;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw BrokenImage{"needs more memory than there is"};
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      throw BrokenImage{"cannot be decoded (it uses what libwebp does not know)"};
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      throw BrokenImage{fmt::format("is cut off: its {} bytes end too early", bytes.size())};
    default:
      throw BrokenImage{"is corrupt: its coded data cannot be decoded"};
  }
}

std::string webp_version() {
  const int version = WebPGetDecoderVersion();
  return fmt::format("libwebp {}.{}.{}", version >> 16, version >> 8 & 255, version & 255);
}

}  // namespace tapescope
