// Which way up a picture is: EXIF's orientation, as cameras note it instead of turning the pixels.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "tools/data/image.h"
#include "tools/data/image_format.h"

namespace tapescope {

// A number from the first directory of a TIFF file (also a BigTIFF), which is EXIF's form too.
std::optional<std::int64_t> tiff_tag(std::span<const std::uint8_t> tiff, int tag);

// 1 to 8, from EXIF (a JPEG's APP1, a PNG's eXIf, a WebP's EXIF, a TIFF's own tag) or else from
// XMP; 1 where nothing is said. Broken metadata say nothing.
int orientation_of(ImageFormat format, std::span<const std::uint8_t> bytes);

// As it is meant to be seen: as Pillow's ImageOps.exif_transpose.
Image upright(Image image, int orientation);
ImageSize upright(ImageSize size, int orientation);

}  // namespace tapescope
