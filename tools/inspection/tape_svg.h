// A tape as a picture.
#pragma once

#include <string>

#include "autograd/tape.h"

namespace tapescope::inspection {

// An SVG drawing, a row per node in the order of recording. Arcs on the left come from a node's
// operands (dashed where only the shape is read), arcs on the right lead from what a walk appended
// to the node that it was appended for. Readable on light and on dark pages.
std::string tape_svg(const Tape& tape);

}  // namespace tapescope::inspection
