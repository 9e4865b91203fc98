#include "tools/detection/error_costs.h"

#include <algorithm>

#include "tools/detection/coco_evaluation.h"

namespace tapescope::detection {
namespace {

// The detections with the errors of this kind put right or taken away.
std::vector<Detection> without(std::span<const Truth> truths, std::span<const Detection> detections,
                               const Judgement& judged, Outcome kind) {
  const bool class_is_wrong = kind == Outcome::classification;
  const bool can_be_mended = class_is_wrong || kind == Outcome::localisation;
  std::vector<bool> gone(detections.size(), false), claimed(truths.size(), false);
  std::vector<Detection> result(detections.begin(), detections.end());
  for (const JudgedBox& box : judged.boxes) {  // by falling score: the first claim is the surest
    const bool wrong = box.outcome == kind;
    if (!wrong && box.outcome != Outcome::right) continue;
    if (wrong && !can_be_mended) {
      gone[box.detection] = true;
      continue;
    }
    const auto object = static_cast<std::size_t>(box.truth);
    if (claimed[object]) {
      gone[box.detection] = true;
      continue;
    }
    claimed[object] = true;
    if (!wrong) continue;
    if (class_is_wrong) {
      result[box.detection].category = truths[object].category;
    } else {
      result[box.detection].box = truths[object].box;
    }
  }
  std::size_t i = 0;
  std::erase_if(result, [&](const Detection&) { return gone[i++]; });
  return result;
}

}  // namespace

ErrorCosts error_costs(std::span<const Truth> truths, std::span<const Detection> detections,
                       const std::vector<std::int64_t>& images,
                       const std::vector<int>& categories) {
  const auto ap50 = [&](std::span<const Truth> t, std::span<const Detection> d) {
    return std::max(0.0, evaluate_coco(t, d, images, categories).summary()[1]);
  };
  const Judgement judged = judge_boxes(truths, detections, 0);
  const ErrorCounts counts = count_errors(judged);
  ErrorCosts costs;
  costs.ap50 = ap50(truths, detections);
  for (int k = 0; k < kOutcomes; ++k) {
    const auto kind = static_cast<Outcome>(k);
    if (kind == Outcome::right) continue;
    costs.of_boxes[static_cast<std::size_t>(k)] =
        ap50(truths, without(truths, detections, judged, kind)) - costs.ap50;
  }
  if (counts.missed > 0) {
    std::vector<Truth> seen;
    for (std::size_t i = 0; i < truths.size(); ++i) {
      if (!judged.missed[i]) seen.push_back(truths[i]);
    }
    costs.missed = ap50(seen, detections) - costs.ap50;
  }
  return costs;
}

}  // namespace tapescope::detection
