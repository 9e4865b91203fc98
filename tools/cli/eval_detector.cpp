#include <nlohmann/json.hpp>

#include "tools/cli/detector_commands.h"
#include "tools/detection/detector.h"
#include "tools/detection/voc_evaluation.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/trainer.h"

namespace tapescope::cli {
namespace {

using nlohmann::ordered_json;
using namespace detection;

constexpr double kErrorScore = 0.3;  // errors are counted of boxes that `detect` would show

}  // namespace

const std::vector<AnnotatedImage>& split_of(const DetectionData& data, const std::string& folder,
                                            const std::string& split) {
  if (split != "train" && split != "validation" && split != "test") {
    throw usage_error("there is no split '{}'; known are train, validation and test", split);
  }
  const std::vector<AnnotatedImage>& images = split == "train"  ? data.train
                                              : split == "test" ? data.test
                                                                : data.validation;
  if (images.empty()) {
    throw usage_error("'{}' has no {} images; choose another --split", folder, split);
  }
  return images;
}

BadImage bad_image_from(const std::string& option) {
  if (option == "fail") return BadImage::fail;
  if (option == "skip") return BadImage::skip;
  throw usage_error("--on-bad-image is {}; it must be fail or skip", option);
}

void say(const DetectionData& data) {
  fmt::print(stderr, "{}\n", printable(data.summary));
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images) {
    fmt::print(stderr, "left out: {}\n", printable(bad));
  }
  if (!data.bad_images.empty()) {
    fmt::print(stderr, "{} pictures cannot be read and were left out with their boxes\n",
               data.bad_images.size());
  }
}

int eval_detector(const RunOptions& run, const std::string& data_folder, const std::string& split,
                  std::int64_t batch_size, BadImage on_bad_image, bool json) {
  const LoadedDetector loaded = load_detector(run.run, run.checkpoint);
  const DetectorConfig& config = loaded.model->config();
  const DetectionData data = open_detection_data(data_folder, {.classes = config.classes,
                                                               .allow_outside = run.allow_outside,
                                                               .on_bad_image = on_bad_image});
  say(data);
  const std::vector<AnnotatedImage>& images = split_of(data, data_folder, split);
  const auto source = std::make_shared<DetectionSource>(
      images, static_cast<int>(config.classes.size()), static_cast<int>(config.height),
      static_cast<int>(config.width), Augment::none);
  const DetectionTask task(config, source);
  const std::unique_ptr<Metrics> metrics =
      evaluate(*loaded.model, task, source, batch_size, 2, run.backend());
  const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
  const CocoResult result = found.result();
  const std::array<double, 12> summary = result.summary();
  const std::vector<Truth> truths = found.truths();
  const ErrorCounts errors = count_errors(judge_boxes(truths, found.detections(), kErrorScore));
  ordered_json numbers, classes = ordered_json::array();
  for (std::size_t i = 0; i < summary.size(); ++i) {
    numbers[CocoResult::summary_names()[i]] = summary[i];
    if (!json) fmt::print("{:<10} {:>7.4f}\n", CocoResult::summary_names()[i], summary[i]);
  }
  if (!json)
    fmt::print("(COCO's rules; -1: no such objects)\n\n{:<16} {:>8} {:>8} {:>9}\n", "class", "AP",
               "AP50", "objects");
  for (std::size_t k = 0; k < config.classes.size(); ++k) {
    const int category = static_cast<int>(k);
    const auto objects = std::count_if(truths.begin(), truths.end(), [&](const Truth& t) {
      return t.category == category && !t.crowd;
    });
    const double ap = result.average_precision(category),
                 ap50 = result.average_precision(category, 0);
    classes.push_back(
        {{"name", config.classes[k]}, {"ap", ap}, {"ap50", ap50}, {"objects", objects}});
    if (!json) {
      fmt::print("{:<16} {:>8.4f} {:>8.4f} {:>9}\n", config.classes[k], ap, ap50, objects);
    }
  }
  numbers["loss"] = metrics->loss();
  numbers["images"] = images.size();
  numbers["classes"] = classes;
  numbers["errors"] = {{"score", kErrorScore},
                       {"right", errors.right},
                       {"classification", errors.classification},
                       {"localisation", errors.localisation},
                       {"both", errors.both},
                       {"duplicate", errors.duplicate},
                       {"background", errors.background},
                       {"missed", errors.missed}};
  if (json) {
    fmt::print("{}\n", json_text(numbers, 2));
    return 0;
  }
  fmt::print(
      "\nboxes with a probability of {} or more: {} right, {} of another class, {} badly placed, "
      "{} "
      "both,\n{} twice, {} on nothing; {} objects missed\n",
      kErrorScore, errors.right, errors.classification, errors.localisation, errors.both,
      errors.duplicate, errors.background, errors.missed);
  return 0;
}

}  // namespace tapescope::cli
