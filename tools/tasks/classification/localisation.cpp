#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/data/image.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/classification/localiser.h"

namespace tapescope::tasks {
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

// The object that the box fits best; of the answer's class where there is one.
void count(Counts& counts, const Localiser::Answer& answer, const std::string& answered,
           const detection::AnnotatedImage& image, const std::vector<std::string>& classes) {
  const auto is_answer = [&](const detection::Object& o) {
    return classes[static_cast<std::size_t>(o.category)] == answered;
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

std::string text_of(const nlohmann::ordered_json& shares, bool known) {
  const auto percent = [&](const char* key) { return 100 * shares[key].get<double>(); };
  std::string text = fmt::format("{} images with objects\n", shares["images"].get<std::int64_t>());
  if (known) {
    text +=
        fmt::format("{:6.2f} %  the class is that of an object (accuracy)\n", percent("accuracy"));
  }
  text +=
      fmt::format("{:6.2f} %  the class map's box overlaps an object's by more than 0.5 (iou50)\n",
                  percent("iou50"));
  if (known) text += fmt::format("{:6.2f} %  both (localised)\n", percent("localised"));
  return text +
         fmt::format(
             "{:6.2f} %  the map is largest inside an object's box, which covers {:.2f} % (peak)\n"
             "{:6.4f}    mean overlap\n",
             percent("peak"), percent("peak_chance"), shares["mean_iou"].get<double>());
}

}  // namespace

Answer evaluate_localisation(const ClassificationRun& run, const EvaluationRequest& request,
                             const Backend& backend) {
  move_to(backend.device, run.model().parameters());
  Localiser localiser(run.class_logits(), backend, request.share, request.target);
  // Boxes of classes that the model does not know are boxes all the same. One bad picture costs no
  // others' figures.
  const detection::DetectionData data = detection::open_detection_data(
      request.data.folder, {.allow_outside = run.asked().allow_outside,
                            .on_bad_image = BadImage::skip,
                            .exif = run.preprocess().exif});
  const bool all = data.bad_images.empty() || request.data.on_bad_image == BadImage::skip;
  const std::vector<std::string>& classes = run.classes();
  const bool known =
      std::any_of(data.classes.begin(), data.classes.end(), [&](const std::string& name) {
        return std::find(classes.begin(), classes.end(), name) != classes.end();
      });
  detection::say(data);
  Counts counts;
  for (const detection::AnnotatedImage& image :
       split_of(data, request.data.folder, request.data.split)) {
    if (image.objects.empty()) continue;
    const Localiser::Answer answer = localiser.find(read_annotated(image), image.path);
    const std::string& answered = classes[static_cast<std::size_t>(answer.category)];
    count(counts, answer, answered, image, data.classes);
  }
  if (counts.images == 0) {
    throw usage_error("the {} images of '{}' show no objects", request.data.split,
                      request.data.folder);
  }
  const nlohmann::ordered_json shares = counts.shares(known);
  return {text_of(shares, known), json_text(shares, 2), all ? 0 : 2};
}

}  // namespace tapescope::tasks
