#include "tools/detection/coco_evaluation.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

namespace tapescope::detection {
namespace {

constexpr std::array<std::array<double, 2>, kAreas> kAreaRanges = {
    {{0, 1e10}, {0, 32. * 32}, {32. * 32, 96. * 96}, {96. * 96, 1e10}}};
constexpr std::array<std::size_t, kMaxDetections> kMost = {1, 10, 100};

// numpy.linspace: i * step + start, and the end as it was given. 0.57 is not 57 * 0.01.
double linspace(double start, double stop, int count, int i) {
  if (i == count - 1) return stop;
  return i * ((stop - start) / (count - 1)) + start;
}
double threshold(int t) { return linspace(0.5, 0.95, kThresholds, t); }
double recall_level(int r) { return linspace(0, 1, kRecalls, r); }

// One image and category: at most 100 detections, best first, against the objects.
struct Pair {
  std::vector<Truth> truths;          // in the order given
  std::vector<Detection> detections;  // by falling score, ties in the order given
  std::vector<double> ious;           // {detections, truths}

  void prepare() {
    std::stable_sort(detections.begin(), detections.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
    if (detections.size() > kMost.back()) detections.resize(kMost.back());
    for (const Detection& d : detections) {
      for (const Truth& t : truths) ious.push_back(iou(d.box, t.box, t.crowd));
    }
  }
};

// What came of a Pair within one range of areas.
struct Matches {
  std::vector<double> scores;                                   // by detection
  std::vector<std::array<bool, kThresholds>> matched, ignored;  // by detection
  std::size_t counted = 0;                                      // objects that are to be found
};

Matches match(const Pair& pair, const std::array<double, 2>& range) {
  Matches result;
  const std::size_t truths = pair.truths.size();
  std::vector<std::size_t> order(truths);  // those that are ignored last
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto is_ignored = [&](std::size_t i) {
    const Truth& t = pair.truths[i];
    return t.crowd || t.area < range[0] || t.area > range[1];
  };
  std::stable_partition(order.begin(), order.end(), [&](std::size_t i) { return !is_ignored(i); });
  std::vector<bool> ignored(truths);
  for (std::size_t g = 0; g < truths; ++g) {
    ignored[g] = is_ignored(order[g]);
    result.counted += !ignored[g];
  }
  result.matched.assign(pair.detections.size(), {});
  result.ignored.assign(pair.detections.size(), {});
  for (const Detection& d : pair.detections) result.scores.push_back(d.score);
  for (int t = 0; t < kThresholds; ++t) {
    std::vector<bool> taken(truths, false);
    for (std::size_t d = 0; d < pair.detections.size(); ++d) {
      double best = std::min(threshold(t), 1 - 1e-10);
      std::ptrdiff_t found = -1;
      for (std::size_t g = 0; g < truths; ++g) {
        const Truth& truth = pair.truths[order[g]];
        if (taken[g] && !truth.crowd) continue;
        // A real object is held: those that are ignored, which come last, cannot do better.
        if (found >= 0 && !ignored[static_cast<std::size_t>(found)] && ignored[g]) break;
        const double overlap = pair.ious[d * truths + order[g]];
        if (overlap < best) continue;  // equal overlap: the later object
        best = overlap;
        found = static_cast<std::ptrdiff_t>(g);
      }
      const auto at = static_cast<std::size_t>(t);
      if (found >= 0) {
        const auto g = static_cast<std::size_t>(found);
        taken[g] = true;
        result.ignored[d][at] = ignored[g];
        result.matched[d][at] = pair.truths[order[g]].id != 0;
      }
      const double area = pair.detections[d].box.area();
      if (!result.matched[d][at] && (area < range[0] || area > range[1])) {
        result.ignored[d][at] = true;
      }
    }
  }
  return result;
}

}  // namespace

double iou(const Box& a, const Box& b, bool crowd) {
  const double w = std::min(a.w + a.x, b.w + b.x) - std::max(a.x, b.x);
  const double h = std::min(a.h + a.y, b.h + b.y) - std::max(a.y, b.y);
  if (w <= 0 || h <= 0) return 0;
  const double both = w * h;
  return both / (crowd ? a.area() : a.area() + b.area() - both);
}

namespace {

// A detection of one image, and what it was matched with at each threshold.
struct Entry {
  double score;
  const Matches* from;
  std::size_t index;
};

// Of all images, best score first, `most` of each image.
std::vector<Entry> by_score(const std::vector<Matches>& all, std::size_t most) {
  std::vector<Entry> entries;
  for (const Matches& one : all) {
    for (std::size_t d = 0; d < std::min(one.scores.size(), most); ++d) {
      entries.push_back({one.scores[d], &one, d});
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& x, const Entry& y) { return x.score > y.score; });
  return entries;
}

// Recall and the precision at each level of recall, of one category, area and number of detections.
void accumulate(const std::vector<Entry>& entries, std::size_t counted, std::size_t k,
                std::size_t a, std::size_t m, CocoResult& result) {
  const std::size_t K = result.categories.size(), A = kAreas, M = kMaxDetections, R = kRecalls;
  for (std::size_t t = 0; t < kThresholds; ++t) {
    std::vector<double> recalls, precisions;
    double tp = 0, fp = 0;
    for (const Entry& entry : entries) {
      if (!entry.from->ignored[entry.index][t]) {
        (entry.from->matched[entry.index][t] ? tp : fp) += 1;
      }
      recalls.push_back(tp / static_cast<double>(counted));
      precisions.push_back(tp / (fp + tp + std::numeric_limits<double>::epsilon()));
    }
    result.recall[((t * K + k) * A + a) * M + m] = recalls.empty() ? 0 : recalls.back();
    for (std::size_t i = precisions.size(); i-- > 1;) {
      precisions[i - 1] = std::max(precisions[i - 1], precisions[i]);
    }
    for (std::size_t r = 0; r < R; ++r) {
      const auto at =
          std::lower_bound(recalls.begin(), recalls.end(), recall_level(static_cast<int>(r))) -
          recalls.begin();
      result.precision[(((t * R + r) * K + k) * A + a) * M + m] =
          at < static_cast<std::ptrdiff_t>(precisions.size())
              ? precisions[static_cast<std::size_t>(at)]
              : 0;
    }
  }
}

}  // namespace

CocoResult evaluate_coco(std::span<const Truth> truths, std::span<const Detection> detections,
                         std::vector<std::int64_t> images, std::vector<int> categories) {
  const auto unique = [](auto& list) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  };
  unique(images);
  unique(categories);
  CocoResult result;
  const std::size_t K = categories.size(), A = kAreas, M = kMaxDetections, R = kRecalls;
  result.categories = categories;
  result.precision.assign(kThresholds * R * K * A * M, -1);
  result.recall.assign(kThresholds * K * A * M, -1);

  std::map<std::pair<int, std::int64_t>, Pair> pairs;  // by category, then image: the order of sums
  const auto known = [&](int category, std::int64_t image) {
    return std::binary_search(categories.begin(), categories.end(), category) &&
           std::binary_search(images.begin(), images.end(), image);
  };
  for (const Truth& t : truths) {
    if (known(t.category, t.image)) pairs[{t.category, t.image}].truths.push_back(t);
  }
  for (const Detection& d : detections) {
    if (known(d.category, d.image)) pairs[{d.category, d.image}].detections.push_back(d);
  }
  for (auto& [key, pair] : pairs) pair.prepare();

  for (std::size_t k = 0; k < K; ++k) {
    const auto first = pairs.lower_bound({categories[k], std::numeric_limits<std::int64_t>::min()});
    const auto last = pairs.upper_bound({categories[k], std::numeric_limits<std::int64_t>::max()});
    for (std::size_t a = 0; a < A; ++a) {
      std::vector<Matches> all;
      std::size_t counted = 0;
      for (auto it = first; it != last; ++it) {
        all.push_back(match(it->second, kAreaRanges[a]));
        counted += all.back().counted;
      }
      if (counted == 0) continue;  // nothing to find: left out of every mean
      for (std::size_t m = 0; m < M; ++m) {
        accumulate(by_score(all, kMost[m]), counted, k, a, m, result);
      }
    }
  }
  return result;
}

double CocoResult::precision_at(int t, int r, int k, int a, int m) const {
  const auto K = static_cast<int>(categories.size());
  return precision[static_cast<std::size_t>(
      (((t * kRecalls + r) * K + k) * kAreas + a) * kMaxDetections + m)];
}
double CocoResult::recall_at(int t, int k, int a, int m) const {
  const auto K = static_cast<int>(categories.size());
  return recall[static_cast<std::size_t>(((t * K + k) * kAreas + a) * kMaxDetections + m)];
}

double CocoResult::average_precision(int category_index, int threshold) const {
  double sum = 0, count = 0;
  for (int t = 0; t < kThresholds; ++t) {
    if (threshold >= 0 && t != threshold) continue;
    for (int r = 0; r < kRecalls; ++r) {
      const double p = precision_at(t, r, category_index, 0, kMaxDetections - 1);
      if (p < 0) return -1;
      sum += p;
      ++count;
    }
  }
  return sum / count;
}

const std::array<const char*, 12>& CocoResult::summary_names() {
  static const std::array<const char*, 12> names = {
      "ap",   "ap50",  "ap75",   "ap_small", "ap_medium", "ap_large",
      "ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"};
  return names;
}

std::array<double, 12> CocoResult::summary() const {
  const int K = static_cast<int>(categories.size());
  const auto mean_precision = [&](int only, int a) {
    double sum = 0, count = 0;
    for (int t = 0; t < kThresholds; ++t) {
      if (only >= 0 && t != only) continue;
      for (int r = 0; r < kRecalls; ++r) {
        for (int k = 0; k < K; ++k) {
          const double p = precision_at(t, r, k, a, kMaxDetections - 1);
          if (p > -1) {
            sum += p;
            ++count;
          }
        }
      }
    }
    return count > 0 ? sum / count : -1;
  };
  const auto mean_recall = [&](int a, int m) {
    double sum = 0, count = 0;
    for (int t = 0; t < kThresholds; ++t) {
      for (int k = 0; k < K; ++k) {
        if (recall_at(t, k, a, m) > -1) {
          sum += recall_at(t, k, a, m);
          ++count;
        }
      }
    }
    return count > 0 ? sum / count : -1;
  };
  return {mean_precision(-1, 0), mean_precision(0, 0),  mean_precision(5, 0), mean_precision(-1, 1),
          mean_precision(-1, 2), mean_precision(-1, 3), mean_recall(0, 0),    mean_recall(0, 1),
          mean_recall(0, 2),     mean_recall(1, 2),     mean_recall(2, 2),    mean_recall(3, 2)};
}

}  // namespace tapescope::detection
