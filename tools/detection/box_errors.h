// What kind of errors a detector makes.
#pragma once

#include <span>
#include <vector>

#include "tools/detection/boxes.h"

namespace tapescope::detection {

// Bolya et al. 2020, "TIDE", at 0.5 for a hit and 0.1 for the background.
enum class Outcome : unsigned char {
  right,
  classification,  // on an object of another class
  localisation,    // on an object of its class, but not well enough
  both,
  duplicate,   // on an object that a better score has taken
  background,  // on nothing
};
constexpr int kOutcomes = 6;
const char* name_of(Outcome outcome);

struct JudgedBox {
  std::size_t detection = 0;  // position among the detections
  Outcome outcome = Outcome::right;
  // The object that it is right or wrong about, and their IoU; none on the background.
  std::ptrdiff_t truth = -1;
  double overlap = 0;
};
struct Judgement {
  // Those with a score of at least `score`, but for wrong ones in a crowd of their class.
  std::vector<JudgedBox> boxes;
  std::vector<bool> found;   // by object: a right box is on it
  std::vector<bool> missed;  // by object: nothing of the above explains it
};
Judgement judge_boxes(std::span<const Truth> truths, std::span<const Detection> detections,
                      double score);

// How many of each.
struct ErrorCounts {
  std::int64_t right = 0, classification = 0, localisation = 0, both = 0, duplicate = 0,
               background = 0;
  std::int64_t missed = 0;
};
ErrorCounts count_errors(const Judgement& judgement);
// Of detections with a score of at least `score`.
ErrorCounts count_errors(std::span<const Truth> truths, std::span<const Detection> detections,
                         double score);

}  // namespace tapescope::detection
