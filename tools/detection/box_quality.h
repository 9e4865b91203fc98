// Whether an explanation of a box says what the detector does, and lies where the object is.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "tools/detection/box_explainer.h"
#include "tools/quality/panel.h"

namespace tapescope::detection {

// In the order of the panels that box_panel gives.
std::span<const quality::MetricInfo> box_metrics();

struct BoxSubject {
  Tensor x, baseline, blurred;  // f32 {1,H,W,3}: the input; what deletion and insertion go between
  Box box;                      // the explained one, in the input's pixels
  int category = 0;
  std::vector<Box> objects;           // annotated ones; empty: the metric "others" does not apply
  std::optional<quality::Mask> mask;  // of the object
};

// How sure the detector is of a box after a change of the input, as a share of how sure it was:
// the highest probability of its class among cells whose box has an IoU above 0.5 with it (ODAM,
// Zhao and Chan 2023, section 4). M inputs {M,H,W,3} to {M}.
quality::Scores certainty_of(CellReader& reader, const BoxSubject& subject);

// `map` at the input's size; `randomised`: the same explanation of the detector with random head,
// neck and whole body (backbone), or nothing.
quality::Panel box_panel(CellReader& reader, const BoxSubject& subject, const Map& map,
                         std::span<const Map> randomised, int steps = 20, int chunk = 8);

// Which positions' centres lie in the box.
quality::Mask mask_of(const Box& box, int height, int width);

}  // namespace tapescope::detection
