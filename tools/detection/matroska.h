// Uncompressed frames with their times, in the plainest form that ffmpeg reads from a pipe:
// Matroska (RFC 9559) of one track, each frame per cluster.
#pragma once

#include <cstdio>
#include <string>

#include "tools/data/image.h"

namespace tapescope::detection {

// Before the first frame. Frames are of one size, 3 channels.
std::string matroska_header(int height, int width);
// Before the pixels of a frame; `seconds` are kept to the microsecond.
std::string matroska_frame(const Image& image, double seconds);

}  // namespace tapescope::detection
