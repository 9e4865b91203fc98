#include "tools/detection/box_errors.h"

#include <algorithm>
#include <map>

namespace tapescope::detection {

const char* name_of(Outcome outcome) {
  static constexpr const char* kNames[] = {"right", "classification", "localisation",
                                           "both",  "duplicate",      "background"};
  return kNames[static_cast<std::size_t>(outcome)];
}

namespace {

// The overlap of a box with an object, and its number; -1: none.
using Best = std::pair<double, std::ptrdiff_t>;

class Judge {
 public:
  Judge(std::span<const Truth> truths, std::span<const Detection> detections)
      : truths_(truths), detections_(detections) {
    for (std::size_t i = 0; i < truths.size(); ++i) {
      if (!truths[i].crowd) of_image_[truths[i].image].push_back(i);
    }
    result_.found.assign(truths.size(), false);
  }

  // Every hit first: which objects are taken does not depend on the errors.
  void look_for_hits(const std::vector<std::size_t>& order) {
    for (std::size_t i : order) {
      const Detection& d = detections_[i];
      const auto [overlap, truth] = best_of(
          d, [&](std::size_t k) { return truths_[k].category == d.category && !result_.found[k]; });
      result_.boxes.push_back({i, Outcome::right, truth, overlap});
      if (overlap >= kHit) {
        result_.found[static_cast<std::size_t>(truth)] = true;
      } else {
        result_.boxes.back().outcome = Outcome::background;  // until looked at below
      }
    }
  }

  // As COCO has it, what lies for the most part in a crowd of its class is neither right nor wrong.
  void leave_out_crowds() {
    const auto in_crowd = [&](const Detection& d) {
      return std::any_of(truths_.begin(), truths_.end(), [&](const Truth& t) {
        return t.crowd && t.image == d.image && t.category == d.category &&
               iou(d.box, t.box, true) >= kHit;
      });
    };
    std::erase_if(result_.boxes, [&](const JudgedBox& box) {
      return box.outcome != Outcome::right && in_crowd(detections_[box.detection]);
    });
  }

  Judgement name_errors() {
    std::vector<bool> touched = result_.found;
    for (JudgedBox& box : result_.boxes) {
      if (box.outcome == Outcome::right) continue;
      const Detection& d = detections_[box.detection];
      const Best own = best_of(d, [&](std::size_t k) { return truths_[k].category == d.category; });
      const Best other =
          best_of(d, [&](std::size_t k) { return truths_[k].category != d.category; });
      const auto about = [&](Outcome outcome, const Best& object) {
        box.outcome = outcome;
        box.overlap = object.first;
        box.truth = object.second;
      };
      if (own.first >= kHit) {  // taken, or it would have been a hit
        about(Outcome::duplicate, own);
      } else if (own.first >= kBackground) {
        about(Outcome::localisation, own);
        touched[static_cast<std::size_t>(own.second)] = true;
      } else if (other.first >= kHit) {
        about(Outcome::classification, other);
        touched[static_cast<std::size_t>(other.second)] = true;
      } else if (other.first >= kBackground) {
        about(Outcome::both, other);
      } else {
        about(Outcome::background, {0, -1});
      }
    }
    for (std::size_t i = 0; i < truths_.size(); ++i) {
      result_.missed.push_back(!touched[i] && !truths_[i].crowd && !truths_[i].difficult);
    }
    return std::move(result_);
  }

 private:
  static constexpr double kHit = 0.5, kBackground = 0.1;

  template <class Allowed>
  Best best_of(const Detection& d, Allowed&& allowed) const {
    Best best{0, -1};
    const auto here = of_image_.find(d.image);
    if (here == of_image_.end()) return best;
    for (std::size_t i : here->second) {
      if (!allowed(i)) continue;
      if (const double overlap = iou(d.box, truths_[i].box); overlap > best.first) {
        best = {overlap, static_cast<std::ptrdiff_t>(i)};
      }
    }
    return best;
  }

  std::span<const Truth> truths_;
  std::span<const Detection> detections_;
  std::map<std::int64_t, std::vector<std::size_t>> of_image_;
  Judgement result_;
};

}  // namespace

Judgement judge_boxes(std::span<const Truth> truths, std::span<const Detection> detections,
                      double score) {
  std::vector<std::size_t> order;  // best score first
  for (std::size_t i = 0; i < detections.size(); ++i) {
    if (detections[i].score >= score) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return detections[a].score > detections[b].score;
  });
  Judge judge(truths, detections);
  judge.look_for_hits(order);
  judge.leave_out_crowds();
  return judge.name_errors();
}

ErrorCounts count_errors(const Judgement& judgement) {
  ErrorCounts counts;
  std::int64_t* const by_outcome[] = {&counts.right, &counts.classification, &counts.localisation,
                                      &counts.both,  &counts.duplicate,      &counts.background};
  for (const JudgedBox& box : judgement.boxes) ++*by_outcome[static_cast<std::size_t>(box.outcome)];
  counts.missed = std::count(judgement.missed.begin(), judgement.missed.end(), true);
  return counts;
}

}  // namespace tapescope::detection
