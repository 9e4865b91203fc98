// Grey from colour and back: the one place that knows how.
#pragma once

#include "tools/data/image.h"

namespace tapescope {

// Grey as three equal channels, colour as its luma; a copy where nothing is to be done.
Image recoloured(const ImageView& from, int channels);

}  // namespace tapescope
