// Maps that know nothing of the model: a metric that one of them does well at shows nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "tools/report/colormap.h"

namespace tapescope::quality {

struct Control {
  std::string name;
  Map map;
};

// Of x f32 {1,H,W,C}: "control-random", uniform at every position; "control-centre", a Gaussian in
// the middle whose deviation is a quarter of each side; "control-edges", the length of the Sobel
// gradient of the channels' mean.
std::vector<Control> controls(const Tensor& x, std::uint64_t seed);

}  // namespace tapescope::quality
