#include "tools/detection/box_quality.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tapescope::detection {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

constexpr quality::MetricInfo kMetrics[] = {
    {"deletion", -1, false, "area under the box's certainty as the map's first pixels go"},
    {"insertion", 1, false, "the same as they come back into a blurred picture"},
    {"pointing", 1, false, "whether the highest value lies in the box"},
    {"energy", 1, false, "share of the positive part inside the box"},
    {"chance", 0, false, "the box's share of the area: the energy of a map that knows nothing"},
    {"others", -1, false, "of what lies in objects, the share in other ones than this"},
    {"mask", 1, true, "share of the positive part inside the mask"},
    {"head", -1, false, "rank correlation with the map of the same net with random heads"},
    {"neck", -1, false, "the same, its neck random"},
    {"backbone", -1, false, "the same, its backbone random"},
};

// Rank correlation over the positions where either map says something: beyond the receptive field
// of the cell both are zero, whatever the parameters are.
double likeness(const Map& a, const Map& b) {
  std::vector<float> in_a, in_b;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    if (a.values[i] == 0 && b.values[i] == 0) continue;
    in_a.push_back(a.values[i]);
    in_b.push_back(b.values[i]);
  }
  return quality::rank_correlation(in_a, in_b);
}

// What lies in the other objects, as a share of what lies in any: pixels of both count for the
// explained one.
double in_others(const Map& map, const BoxSubject& subject) {
  const quality::Mask own = mask_of(subject.box, map.height, map.width);
  std::vector<quality::Mask> masks;
  for (const Box& box : subject.objects) masks.push_back(mask_of(box, map.height, map.width));
  double inside = 0, elsewhere = 0;
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const double v = std::max(0.0f, map.values[i]);
    if (own.cause[i]) {
      inside += v;
    } else if (std::any_of(masks.begin(), masks.end(),
                           [&](const quality::Mask& m) { return m.cause[i]; })) {
      elsewhere += v;
    }
  }
  return inside + elsewhere > 0 ? elsewhere / (inside + elsewhere) : kNan;
}

}  // namespace

std::span<const quality::MetricInfo> box_metrics() { return kMetrics; }

quality::Mask mask_of(const Box& box, int height, int width) {
  quality::Mask mask{height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double px = x + 0.5, py = y + 0.5;
      mask.cause.push_back(px >= box.x && px < box.x + box.w && py >= box.y && py < box.y + box.h);
    }
  }
  return mask;
}

quality::Scores certainty_of(CellReader& reader, const BoxSubject& subject) {
  const auto surest = [&reader, box = subject.box, category = subject.category](const Tensor& in) {
    const Cells cells = reader.read(in);
    Tensor scores(Type{DType::f32, {in.shape()[0]}});
    for (std::int64_t n = 0; n < in.shape()[0]; ++n) {
      float best = 0;
      for (std::int64_t y = 0; y < cells.height(); ++y) {
        for (std::int64_t x = 0; x < cells.width(); ++x) {
          const float p = cells.at(n, y, x, category);
          if (p > best && iou(cells.box(n, y, x), box) > 0.5) best = p;
        }
      }
      scores.values<float>()[static_cast<std::size_t>(n)] = best;
    }
    return scores;
  };
  const float whole = surest(subject.x).values<float>()[0];
  return [surest, whole](const Tensor& inputs) {
    Tensor scores = surest(inputs);
    for (float& s : scores.values<float>()) s = whole > 0 ? s / whole : 0;
    return scores;
  };
}

quality::Panel box_panel(CellReader& reader, const BoxSubject& subject, const Map& map,
                         std::span<const Map> randomised, int steps, int chunk) {
  const quality::Scores certainty = certainty_of(reader, subject);
  const quality::Mask own = mask_of(subject.box, map.height, map.width);
  quality::Panel panel;
  auto& v = panel.values;
  v.push_back(quality::deletion(certainty, subject.x, subject.baseline, map, steps, chunk).area);
  v.push_back(quality::insertion(certainty, subject.x, subject.blurred, map, steps, chunk).area);
  v.push_back(quality::pointing_game(map, own));
  v.push_back(quality::mass_accuracy(map, own));
  v.push_back(own.share());
  v.push_back(subject.objects.empty() ? kNan : in_others(map, subject));
  v.push_back(subject.mask ? quality::mass_accuracy(map, *subject.mask) : kNan);
  for (std::size_t i = 0; i < std::size(kDetectorParts); ++i) {
    v.push_back(i < randomised.size() ? likeness(map, randomised[i]) : kNan);
  }
  return panel;
}

}  // namespace tapescope::detection
