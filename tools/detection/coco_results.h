// What a detector found, as COCO's tools read it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/detection/coco_ids.h"
#include "tools/detection/detector.h"

namespace tapescope::detection {

// [{"image_id", "category_id", "bbox": [x, y, w, h], "score"}]: what COCO's tools call results.
// Scores with 9 digits: rounding makes ties, and ties change AP.
std::string to_coco_results(std::span<const SeenImage> images, CocoIds& ids);
// The same as a data set: what file and what class each id stands for, and the boxes as
// annotations.
std::string to_coco_dataset(std::span<const SeenImage> images,
                            const std::vector<std::string>& classes, CocoIds& ids);

}  // namespace tapescope::detection
