// A picture that makes a unit or a class answer most.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/tensor.h"

namespace tapescope::explain {

// What is raised, and its gradient, at a picture f32 {1,H,W,C} with values from 0 to 1.
struct Climb {
  double value = 0;
  Tensor gradient;  // f32 {1,H,W,C}
};
using Objective = std::function<Climb(const Tensor& picture)>;

struct VisualizationOptions {
  int steps = 256;
  double rate = 0.05;       // Adam's (Kingma and Ba 2015, arXiv 1412.6980)
  double decay = 1e-3;      // pulls the pixels towards grey, a step
  double jitter = 1. / 16;  // most shift, as a share of each side
  double scale = 0.1;       // most enlargement or reduction
  double rotation = 10;     // most turn, in degrees
  std::uint64_t seed = 0;
};

struct Visualization {
  Tensor picture;              // f32 {1,H,W,C}, 0 to 1
  std::vector<double> values;  // of the objective before each step, at the changed picture
};

// Climbs the objective from faint noise. Two things keep out the high frequencies that raise a unit
// and show nothing (Olah et al. 2017, 10.23915/distill.00007, "The Enemy of Feature
// Visualization"): the picture is a sigmoid of a pyramid, the sum of grids of side 1, 2, 4, ...
// pixels, each with its own Adam, so that coarse structure comes as fast as fine; and the objective
// is asked of the picture shifted, scaled and turned at random each step, as an object might be.
Visualization visualize(const Objective& objective, const Shape& picture,
                        const VisualizationOptions& options = {});

// y(p) = x(A p) with bilinear weights, positions beyond the edge repeated, for a turn by `degrees`
// and an enlargement by `factor` about the middle and a shift in pixels; and its transpose, which
// carries gradients back. x f32 {1,H,W,C}.
struct Placement {
  double degrees = 0, factor = 1, shift_y = 0, shift_x = 0;
};
Tensor placed(const Tensor& x, const Placement& placement);
Tensor placed_transpose(const Tensor& g, const Placement& placement);

}  // namespace tapescope::explain
