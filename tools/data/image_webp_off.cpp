// In the place of image_webp.cpp where libwebp is not there: check_image refuses WebP by name.
#include "tools/data/decoders.h"

namespace tapescope {

Image decode_webp(std::span<const std::uint8_t>) { throw BrokenImage{"cannot be decoded"}; }
std::string webp_version() { return ""; }

}  // namespace tapescope
