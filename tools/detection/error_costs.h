// What each kind of error costs a detector.
#pragma once

#include <array>

#include "tools/detection/box_errors.h"

namespace tapescope::detection {

// How much higher AP50 (COCO's rules) would be without the errors of one kind (Bolya et al. 2020,
// arXiv 2008.08115, section 2.3): classes and boxes put right, the surest box on each object kept;
// boxes that are wrong in both, duplicates and boxes on the background taken away; missed objects
// not counted. Each kind alone: the gains do not add up to what is missing. 0 to 1; of a fix that
// lays bare other errors, below 0.
struct ErrorCosts {
  double ap50 = 0;  // as it is
  // By Outcome; of right ones nothing.
  std::array<double, kOutcomes> of_boxes{};
  double missed = 0;
};
ErrorCosts error_costs(std::span<const Truth> truths, std::span<const Detection> detections,
                       const std::vector<std::int64_t>& images, const std::vector<int>& categories);

}  // namespace tapescope::detection
