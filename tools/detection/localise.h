// A box from a classifier that never saw one.
#pragma once

#include "tools/detection/boxes.h"
#include "tools/report/colormap.h"

namespace tapescope::detection {

// The box around the largest connected region (edge to edge) where the class map is at least
// `share` of its largest value (Zhou et al. 2016, arXiv 1512.04150, section 3.2). A map without a
// positive value gives a box without area. In the map's pixels.
Box localise(const Map& map, double share = 0.6);

}  // namespace tapescope::detection
