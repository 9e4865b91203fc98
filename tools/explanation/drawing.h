// An explanation as colours.
#pragma once

#include <string_view>

#include "autograd/explain/explainer.h"
#include "tools/report/colormap.h"

namespace tapescope {

// The map {1,H,W,C} of an attribution as one number per position, and the colours that suit it:
// sizes of gradients have no sign to show, everything else has.
struct DrawableMap {
  Map map;
  Colors colors = Colors::diverging;
};
// Throws a usage error where the map lies over no picture (units of a dense layer).
DrawableMap drawable(const explain::Attribution& attribution);

}  // namespace tapescope
