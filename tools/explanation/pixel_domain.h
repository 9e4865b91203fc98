// What a model's input may take: the box of LRP's rule for the first layer.
#pragma once

#include "autograd/explain/rule.h"
#include "tools/training/picture.h"

namespace tapescope {

// A number for each channel: what the model's pipeline makes of a pixel value, where 0 is black and
// 1 is white.
explain::Bound pixel_value(double value, const Preprocess& preprocess);

}  // namespace tapescope
