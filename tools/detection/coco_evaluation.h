// COCO's average precision and recall, exactly as pycocotools computes them.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "tools/detection/boxes.h"

namespace tapescope::detection {

constexpr int kThresholds = 10;  // IoU 0.50, 0.55, ..., 0.95
constexpr int kRecalls = 101;    // 0, 0.01, ..., 1
constexpr int kAreas = 4;  // all, small (to 32^2), medium (to 96^2), large: both ends included
constexpr int kMaxDetections = 3;  // 1, 10, 100 per image and category

struct CocoResult {
  std::vector<int> categories;
  std::vector<double> precision;  // {T, R, K, A, M}; -1 where there is nothing to find
  std::vector<double> recall;     // {T, K, A, M}; the last one

  // AP, AP50, AP75, AP small, medium, large; AR with 1, 10, 100 detections, AR small, medium,
  // large. -1: there is no object of that kind.
  std::array<double, 12> summary() const;
  static const std::array<const char*, 12>& summary_names();
  // Over all IoU thresholds (threshold < 0) or one of them, of one category.
  double average_precision(int category_index, int threshold = -1) const;
  double precision_at(int t, int r, int k, int a, int m) const;
  double recall_at(int t, int k, int a, int m) const;
};

// `images`: every image that was looked at, those without objects too; sorted and made unique.
// Objects and detections of other images are left out, as are those of categories that have no
// object and no detection. Equal scores keep the order in which they are given.
CocoResult evaluate_coco(std::span<const Truth> truths, std::span<const Detection> detections,
                         std::vector<std::int64_t> images, std::vector<int> categories);

}  // namespace tapescope::detection
