// Pascal VOC's average precision, and what kind of errors a detector makes.
#pragma once

#include <span>
#include <vector>

#include "tools/detection/boxes.h"

namespace tapescope::detection {

enum class VocRule {
  area,          // VOC 2010 and later: the area under the precision's envelope
  eleven_point,  // VOC 2007: the mean at recall 0, 0.1, ..., 1
};

// Of one category, at IoU > `threshold` (strictly), counted with a pixel added. Detections in order
// of falling score, equal ones in the order given; each is compared with the object it overlaps
// most, taken or not: the second one on an object is wrong. Difficult objects count for nothing.
// NaN where there is no object.
double voc_average_precision(std::span<const Truth> truths, std::span<const Detection> detections,
                             int category, VocRule rule, double threshold = 0.5);

// Bolya et al. 2020, "TIDE", at 0.5 for a hit and 0.1 for the background.
struct ErrorCounts {
  std::int64_t right = 0;
  std::int64_t classification = 0;  // on an object of another class
  std::int64_t localisation = 0;    // on an object of its class, but not well enough
  std::int64_t both = 0;
  std::int64_t duplicate = 0;   // on an object that a better score has taken
  std::int64_t background = 0;  // on nothing
  std::int64_t missed = 0;      // objects on which nothing of the above lies
};
// Of detections with a score of at least `score`.
ErrorCounts count_errors(std::span<const Truth> truths, std::span<const Detection> detections,
                         double score);

}  // namespace tapescope::detection
