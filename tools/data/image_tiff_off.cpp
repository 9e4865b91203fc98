// In the place of image_tiff.cpp where libtiff is not there: check_image refuses TIFF by name.
#include "tools/data/decoders.h"

namespace tapescope {

Image decode_tiff(std::span<const std::uint8_t>) { throw BrokenImage{"cannot be decoded"}; }
std::string tiff_version() { return ""; }

}  // namespace tapescope
