#include "tools/detection/voc_evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace tapescope::detection {
namespace {

std::vector<Detection> by_score(std::vector<Detection> detections) {
  std::stable_sort(detections.begin(), detections.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return detections;
}

}  // namespace

double iou_voc(const Box& a, const Box& b) {
  const double w = std::min(a.x + a.w, b.x + b.w) - std::max(a.x, b.x) + 1;
  const double h = std::min(a.y + a.h, b.y + b.h) - std::max(a.y, b.y) + 1;
  if (w <= 0 || h <= 0) return 0;
  const double both = w * h;
  return both / ((a.w + 1) * (a.h + 1) + (b.w + 1) * (b.h + 1) - both);
}

double voc_average_precision(std::span<const Truth> truths, std::span<const Detection> detections,
                             int category, VocRule rule, double threshold) {
  std::map<std::int64_t, std::vector<std::size_t>> of_image;
  std::size_t counted = 0;
  for (std::size_t i = 0; i < truths.size(); ++i) {
    if (truths[i].category != category) continue;
    of_image[truths[i].image].push_back(i);
    counted += !truths[i].difficult;
  }
  if (counted == 0) return std::numeric_limits<double>::quiet_NaN();
  std::vector<Detection> mine;
  for (const Detection& d : detections) {
    if (d.category == category) mine.push_back(d);
  }
  std::vector<bool> taken(truths.size(), false);
  std::vector<double> recall, precision;
  double tp = 0, fp = 0;
  for (const Detection& d : by_score(std::move(mine))) {
    double best = -std::numeric_limits<double>::infinity();
    std::size_t nearest = 0;
    for (std::size_t i : of_image[d.image]) {
      if (const double overlap = iou_voc(d.box, truths[i].box); overlap > best) {
        best = overlap;
        nearest = i;
      }
    }
    if (best > threshold) {
      if (!truths[nearest].difficult) {
        (taken[nearest] ? fp : tp) += 1;
        taken[nearest] = true;
      }
    } else {
      ++fp;
    }
    recall.push_back(tp / static_cast<double>(counted));
    precision.push_back(tp / std::max(tp + fp, std::numeric_limits<double>::epsilon()));
  }
  if (rule == VocRule::eleven_point) {
    double sum = 0;
    for (int i = 0; i <= 10; ++i) {
      double most = 0;
      for (std::size_t k = 0; k < recall.size(); ++k) {
        if (recall[k] >= i * 0.1) most = std::max(most, precision[k]);
      }
      sum += most / 11;
    }
    return sum;
  }
  double area = 0, before = 0;
  for (std::size_t i = precision.size(); i-- > 1;) {
    precision[i - 1] = std::max(precision[i - 1], precision[i]);
  }
  for (std::size_t i = 0; i < recall.size(); ++i) {
    area += (recall[i] - before) * precision[i];
    before = recall[i];
  }
  return area;
}

ErrorCounts count_errors(std::span<const Truth> truths, std::span<const Detection> detections,
                         double score) {
  constexpr double kHit = 0.5, kBackground = 0.1;
  ErrorCounts counts;
  std::vector<Detection> kept;
  for (const Detection& d : detections) {
    if (d.score >= score) kept.push_back(d);
  }
  kept = by_score(std::move(kept));
  std::vector<bool> taken(truths.size(), false), touched(truths.size(), false);
  const auto best_of = [&](const Detection& d, auto&& allowed) {
    std::pair<double, std::size_t> best{0, truths.size()};
    for (std::size_t i = 0; i < truths.size(); ++i) {
      if (truths[i].image != d.image || truths[i].crowd || !allowed(i)) continue;
      if (const double overlap = iou(d.box, truths[i].box); overlap > best.first) {
        best = {overlap, i};
      }
    }
    return best;
  };
  std::vector<Detection> wrong;
  for (const Detection& d : kept) {
    const auto [overlap, i] =
        best_of(d, [&](std::size_t k) { return truths[k].category == d.category && !taken[k]; });
    if (overlap >= kHit) {
      taken[i] = touched[i] = true;
      ++counts.right;
    } else {
      wrong.push_back(d);
    }
  }
  for (const Detection& d : wrong) {
    const auto own = best_of(d, [&](std::size_t k) { return truths[k].category == d.category; });
    const auto other = best_of(d, [&](std::size_t k) { return truths[k].category != d.category; });
    if (own.first >= kHit) {  // taken, or it would have been a hit
      ++counts.duplicate;
    } else if (own.first >= kBackground) {
      ++counts.localisation;
      touched[own.second] = true;
    } else if (other.first >= kHit) {
      ++counts.classification;
      touched[other.second] = true;
    } else if (other.first >= kBackground) {
      ++counts.both;
    } else {
      ++counts.background;
    }
  }
  for (std::size_t i = 0; i < truths.size(); ++i) {
    counts.missed += !touched[i] && !truths[i].crowd && !truths[i].difficult;
  }
  return counts;
}

}  // namespace tapescope::detection
