#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/cli/detector_commands.h"
#include "tools/cli/localiser.h"
#include "tools/data/image.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"

namespace tapescope::cli {
namespace {

// Of the pictures seen so far.
struct Counts {
  std::int64_t images = 0, right = 0, overlapping = 0, localised = 0, peak = 0;
  double overlap = 0, area = 0;

  // `known`: some of the annotated classes are the model's.
  nlohmann::ordered_json shares(bool known) const {
    using nlohmann::ordered_json;
    const auto share = [&](double sum) { return sum / static_cast<double>(images); };
    const auto of_class = [&](std::int64_t count) {
      return known ? ordered_json(share(static_cast<double>(count))) : ordered_json();
    };
    return {{"images", images},
            {"accuracy", of_class(right)},
            {"iou50", share(static_cast<double>(overlapping))},
            {"localised", of_class(localised)},
            {"mean_iou", share(overlap)},
            {"peak", share(static_cast<double>(peak))},
            {"peak_chance", share(area)}};
  }
};

bool holds(const detection::Box& box, double x, double y) {
  return x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h;
}

}  // namespace

int eval_localisation(const RunOptions& run, const std::string& folder, const std::string& split,
                      double share, const std::string& target, bool json) {
  Localiser localiser(run, share, target);
  // Boxes of classes that the model does not know are boxes all the same.
  const detection::DetectionData data = detection::open_detection_data(
      folder, {.allow_outside = run.allow_outside, .exif = localiser.exif()});
  const std::vector<std::string>& classes = localiser.classes();
  const bool known =
      std::any_of(data.classes.begin(), data.classes.end(), [&](const std::string& name) {
        return std::find(classes.begin(), classes.end(), name) != classes.end();
      });
  say(data);
  Counts counts;
  for (const detection::AnnotatedImage& image : split_of(data, folder, split)) {
    if (image.objects.empty()) continue;
    const Localiser::Answer answer = localiser.find(read_annotated(image), image.path);
    // The object that the box fits best; of the answer's class where there is one.
    const std::string& answered = classes[static_cast<std::size_t>(answer.category)];
    const auto is_answer = [&](const detection::Object& o) {
      return data.classes[static_cast<std::size_t>(o.category)] == answered;
    };
    const bool right = std::any_of(image.objects.begin(), image.objects.end(), is_answer);
    double best = 0, area = 0;
    bool peak = false;
    for (const detection::Object& o : image.objects) {
      if (right && !is_answer(o)) continue;
      best = std::max(best, detection::iou(answer.box, o.box));
      peak = peak || holds(o.box, answer.peak_x, answer.peak_y);
      area = std::max(area, o.box.area() / (static_cast<double>(image.height) * image.width));
    }
    ++counts.images;
    counts.right += right;
    counts.overlapping += best > 0.5;
    counts.localised += right && best > 0.5;
    counts.peak += peak;
    counts.overlap += best;
    counts.area += area;
  }
  if (counts.images == 0) throw usage_error("the {} images of '{}' show no objects", split, folder);
  const nlohmann::ordered_json shares = counts.shares(known);
  if (json) {
    fmt::print("{}\n", json_text(shares, 2));
    return 0;
  }
  const auto percent = [&](const char* key) { return 100 * shares[key].get<double>(); };
  fmt::print("{} images with objects\n", counts.images);
  if (known) {
    fmt::print("{:6.2f} %  the class is that of an object (accuracy)\n", percent("accuracy"));
  }
  fmt::print("{:6.2f} %  the class map's box overlaps an object's by more than 0.5 (iou50)\n",
             percent("iou50"));
  if (known) fmt::print("{:6.2f} %  both (localised)\n", percent("localised"));
  fmt::print(
      "{:6.2f} %  the map is largest inside an object's box, which covers {:.2f} % (peak)\n"
      "{:6.4f}    mean overlap\n",
      percent("peak"), percent("peak_chance"), shares["mean_iou"].get<double>());
  return 0;
}

}  // namespace tapescope::cli
