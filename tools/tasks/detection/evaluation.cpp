// eval of a detector, and its training pictures whose annotation may be wrong.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/detection/box_errors.h"
#include "tools/detection/detection_task.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/tasks/detection/detection.h"
#include "tools/training/deviation.h"
#include "tools/training/trainer.h"

namespace tapescope::tasks {

using Json = nlohmann::ordered_json;
using namespace detection;

namespace {

constexpr double kErrorScore = 0.3;  // errors are counted of boxes that `detect` would show

// A row for each class, into `json` and as text.
std::string by_class(const CocoResult& result, const std::vector<Truth>& truths,
                     const std::vector<std::string>& names, Json& json) {
  std::string text = fmt::format("{:<16} {:>8} {:>8} {:>9}\n", "class", "AP", "AP50", "objects");
  json["classes"] = Json::array();
  for (std::size_t k = 0; k < names.size(); ++k) {
    const int category = static_cast<int>(k);
    const auto objects = std::count_if(truths.begin(), truths.end(), [&](const Truth& t) {
      return t.category == category && !t.crowd;
    });
    const double ap = result.average_precision(category),
                 ap50 = result.average_precision(category, 0);
    json["classes"].push_back(
        {{"name", names[k]}, {"ap", ap}, {"ap50", ap50}, {"objects", objects}});
    text += fmt::format("{} {:>8.4f} {:>8.4f} {:>9}\n", padded(printable(names[k]), 16), ap, ap50,
                        objects);
  }
  return text;
}

}  // namespace

Answer DetectionRun::evaluate(const EvaluationRequest& request, const Backend& backend) const {
  if (request.wrong) {
    throw usage_error("--wrong is of a classifier's run; `report` shows a detector's wrong boxes");
  }
  const DetectionData data = open(request.data);
  say(data);
  const std::vector<AnnotatedImage>& images =
      split_of(data, request.data.folder, request.data.split);
  const auto source = source_of(images);
  const std::unique_ptr<Task> task = model().task(source);
  tell_deviation(model(), *task, source, backend);
  const std::unique_ptr<Metrics> metrics = tapescope::evaluate(
      model(), *task, source, request.batch_size, request.loader_threads, backend);
  const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
  const CocoResult result = found.result();
  const std::array<double, 12> summary = result.summary();
  const std::vector<Truth> truths = found.truths();
  Json numbers;
  std::string text;
  for (std::size_t i = 0; i < summary.size(); ++i) {
    numbers[CocoResult::summary_names()[i]] = summary[i];
    text += fmt::format("{:<10} {:>7.4f}\n", CocoResult::summary_names()[i], summary[i]);
  }
  numbers["loss"] = metrics->loss();
  numbers["images"] = images.size();
  text += "(COCO's rules; -1: no such objects)\n\n";
  text += by_class(result, truths, config().classes, numbers);
  const ErrorCounts errors = count_errors(judge_boxes(truths, found.detections(), kErrorScore));
  numbers["errors"] = {{"score", kErrorScore},
                       {"right", errors.right},
                       {"classification", errors.classification},
                       {"localisation", errors.localisation},
                       {"both", errors.both},
                       {"duplicate", errors.duplicate},
                       {"background", errors.background},
                       {"missed", errors.missed}};
  text += fmt::format(
      "\nboxes with a probability of {} or more: {} right, {} of another class, {} badly placed, "
      "{} both,\n{} twice, {} on nothing; {} objects missed\n",
      kErrorScore, errors.right, errors.classification, errors.localisation, errors.both,
      errors.duplicate, errors.background, errors.missed);
  return {text, json_text(numbers, 2)};
}

// Sure boxes on training images where nothing is annotated, or another class.
Answer DetectionRun::suspects(const DataRequest& request, std::int64_t most,
                              const Backend& backend) const {
  constexpr double kSure = 0.6;
  DataRequest of_training = request;
  of_training.split = "train";
  const RunData images = data(of_training);
  const std::unique_ptr<Metrics> metrics =
      tapescope::evaluate(model(), *images.task, images.samples, 16, 2, backend);
  const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
  const std::vector<Truth> truths = found.truths();
  const auto name = [&](int category) -> const std::string& {
    return classes()[static_cast<std::size_t>(category)];
  };
  Json list = Json::array();
  std::string rows;
  for (const JudgedBox& box : judge_boxes(truths, found.detections(), kSure).boxes) {
    const bool other = box.outcome == Outcome::classification;
    if (!other && box.outcome != Outcome::background) continue;
    if (list.size() == static_cast<std::size_t>(most)) break;
    const Detection& d = found.detections()[box.detection];
    const std::string annotated =
        other ? name(truths[static_cast<std::size_t>(box.truth)].category) : "";
    list.push_back({{"image", images.name(d.image)},
                    {"box", {d.box.x, d.box.y, d.box.w, d.box.h}},
                    {"annotated", other ? Json(annotated) : Json()},
                    {"predicted", name(d.category)},
                    {"probability", d.score}});
    rows += fmt::format("  {}: {:.0f},{:.0f} of {:.0f}x{:.0f}: {}, taken for {} with {:.0f} %\n",
                        images.name(d.image), d.box.x, d.box.y, d.box.w, d.box.h,
                        other ? "annotated as " + annotated : "nothing annotated", name(d.category),
                        100 * d.score);
  }
  return {fmt::format("\nsure boxes on training images that the annotations contradict{}\n{}",
                      list.empty() ? ": none" : " (are the annotations right?)", rows),
          json_text(list)};
}

}  // namespace tapescope::tasks
