// train of a detector: from annotated pictures to what the trainer is given.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/detection/detection_task.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/tasks/detection/detection.h"
#include "tools/training/checkpoint.h"

namespace tapescope::tasks {

using namespace detection;

namespace {

using Images = std::vector<AnnotatedImage>;

// The middle one of the pictures by `of`.
template <class Of>
const AnnotatedImage& middle(const Images& images, Of&& of) {
  std::vector<const AnnotatedImage*> sorted;
  for (const AnnotatedImage& image : images) sorted.push_back(&image);
  const auto it = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), it, sorted.end(),
                   [&](const auto* a, const auto* b) { return of(*a) < of(*b); });
  return **it;
}

int longer_side(const AnnotatedImage& image) { return std::max(image.height, image.width); }

// The recipe of shared experience with small sets: AdamW, a short warm-up, a cosine.
void choose(TrainConfig& c, const Images& images, std::vector<std::string>& notices) {
  if (c.image_size == 0) {
    c.image_size = std::min(320, longer_side(middle(images, longer_side)));
  }
  if (c.optimizer == "sgd" && c.lr == 0) c.optimizer = "adamw";
  const auto pictures = static_cast<std::int64_t>(images.size());
  if (pictures < c.batch_size) notices.push_back(batch_sentence(c, pictures));
  if (c.lr == 0) {
    const auto batch = static_cast<double>(std::min(c.batch_size, pictures));
    c.lr = std::round(2.5e-3 * std::sqrt(batch / 8) * 1e5) / 1e5;
  }
  if (c.weight_decay < 0) c.weight_decay = 0.01;
  if (c.clip_gradient == 0) c.clip_gradient = 35;
  if (c.augment == "auto") {
    c.augment = c.train_only.empty() || c.unfreeze_after > 0 ? "flip" : "none";
  }
}

struct Augmentation {
  Augment augment;
  bool mosaic = false;
};
Augmentation augmentation_of(const TrainConfig& c) {
  if (c.augment == "none") return {Augment::none};
  if (c.augment == "flip") return {Augment::flip};
  if (c.augment == "flip-both") return {Augment::flip_both};
  if (c.augment == "mosaic") return {Augment::flip, true};
  if (c.augment == "mosaic-flip-both") return {Augment::flip_both, true};
  throw usage_error(
      "--augment is '{}'; for a detector it is auto, none, flip, flip-both, mosaic or "
      "mosaic-flip-both",
      c.augment);
}

bool has_objects(const Images& images) {
  return std::any_of(images.begin(), images.end(), [](const AnnotatedImage& image) {
    return std::any_of(image.objects.begin(), image.objects.end(),
                       [](const Object& o) { return !o.crowd; });
  });
}

// The longer side is --image-size, the other follows the picture of middle proportions; both
// multiples of 16. A run that goes on keeps the size that it began with, whatever pictures have
// come or gone.
DetectorConfig config_of(const TrainConfig& c, const DetectionData& data,
                         const std::optional<DetectorConfig>& resumed) {
  const AnnotatedImage& usual = middle(data.train, [](const AnnotatedImage& image) {
    return static_cast<double>(image.height) / image.width;
  });
  const double scale = static_cast<double>(c.image_size) / longer_side(usual);
  const auto side = [&](int extent) {
    return std::max<std::int64_t>(32, 16 * std::llround(extent * scale / 16));
  };
  DetectorConfig config = {data.classes,
                           resumed ? resumed->height : side(usual.height),
                           resumed ? resumed->width : side(usual.width),
                           c.width,
                           c.seed,
                           data.category_ids,
                           exif_from_name(c.exif),
                           c.validation_fraction,
                           c.test_fraction,
                           resumed ? resumed->draw : Draw::content,
                           bad_image_from(c.on_bad_image)};
  config.backbone = c.backbone;
  config.form = form_of_backbone(c.backbone);
  return config;
}

std::optional<DataOptions> division_of(const TrainConfig& config,
                                       const std::optional<DetectorConfig>& resumed) {
  std::optional<DataOptions> division =
      resumed ? detection::division_of(*resumed, "train") : DataOptions();
  if (!division) return division;
  division->resume = resumed.has_value();
  division->validation_fraction = config.validation_fraction;
  division->test_fraction = config.test_fraction;
  division->limit = config.limit;
  division->seed = config.seed;
  return division;
}

DetectionData open_training(const TrainConfig& config, const TrainingRequest& request,
                            const std::optional<DetectorConfig>& resumed) {
  DetectionData data = open_detection_data(
      config.data, {.classes = resumed ? resumed->classes : std::vector<std::string>(),
                    .allow_outside = config.allow_outside,
                    .on_bad_image = bad_image_from(config.on_bad_image),
                    .exif = exif_from_name(config.exif),
                    .division = division_of(config, resumed)});
  say(data);
  expect_accepted(data.changes, config, request);
  if (data.train.empty()) throw usage_error("'{}' has no training images", config.data);
  if (!has_objects(data.train)) {
    throw usage_error("'{}' has {} training images, but all its objects are in other ones",
                      config.data, data.train.size());
  }
  if (!data.validation.empty() && !has_objects(data.validation)) {
    fmt::print(stderr,
               "the {} validation images have no objects and were left out: the last epoch will "
               "count as the best\n",
               data.validation.size());
    data.validation.clear();
  }
  return data;
}

void refuse_preprocessing(TrainConfig& config) {
  if (config.preprocess != "auto" && config.preprocess != "data") {
    throw usage_error(
        "--preprocess {} is of classifiers: a detector's pictures keep their proportions and are "
        "normalised by 0.5 and 0.25; leave it out",
        printable(config.preprocess));
  }
  config.preprocess = "data";
}

TestResult test(const std::string& run, const std::shared_ptr<const DetectionSource>& images,
                const TrainerOptions& options) {
  if (!images) return {{{"test_ap", std::nan("")}, {"test_ap50", std::nan("")}}, ""};
  const LoadedDetector best = load_detector(run, "best", {.allow_non_finite = true});
  const DetectionTask task(best.model->config(), images);
  const std::unique_ptr<Metrics> metrics = evaluate(*best.model, task, images, options.batch_size,
                                                    2, Backend{options.device, options.kernels});
  const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
  const std::array<double, 12> summary = found.result().summary();
  TestResult result;
  for (std::size_t i = 0; i < summary.size(); ++i) {
    result.numbers.emplace_back(fmt::format("test_{}", CocoResult::summary_names()[i]), summary[i]);
  }
  result.numbers.emplace_back("test_loss", metrics->loss());
  result.sentence = fmt::format("test AP {:.4f}, AP50 {:.4f}, AP75 {:.4f} (COCO's rules)",
                                summary[0], summary[1], summary[2]);
  return result;
}

// Objects of each class, and the sentence about the data.
void count_objects(const DetectionData& data, const DetectorConfig& detector,
                   TrainingSetup& setup) {
  setup.per_class.assign(data.classes.size(), 0);
  for (const AnnotatedImage& image : data.train) {
    for (const Object& o : image.objects) {
      if (!o.crowd) ++setup.per_class[static_cast<std::size_t>(o.category)];
    }
  }
  const auto objects =
      std::accumulate(setup.per_class.begin(), setup.per_class.end(), std::int64_t{0});
  setup.images_sentence = fmt::format(
      "{} training image{} with {} object{}, {} validation and {} test images, {} classes, seen at "
      "{}x{}",
      data.train.size(), plural(std::ssize(data.train)), objects, plural(objects),
      data.validation.size(), data.test.size(), data.classes.size(), detector.width,
      detector.height);
}

}  // namespace

TrainingSetup DetectionKit::prepare(TrainConfig& config, const TrainingRequest& request) const {
  check_options(config);
  refuse_preprocessing(config);
  const Device device = device_from_name(config.device);
  config.device = name_of(device.kind);
  std::optional<DetectorConfig> resumed;
  if (goes_on(config, request)) resumed = read_detector_config(config.out, "last");
  const DetectionData data = open_training(config, request, resumed);
  TrainingSetup setup;
  choose(config, data.train, setup.notices);
  const DetectorConfig detector = config_of(config, data, resumed);
  const std::shared_ptr<PictureRoom> asked = picture_room(config);
  const auto room =
      asked ? asked : PictureRoom::of_memory();  // letterboxed pictures are kept anyway
  const auto source = [&](const Images& images, Augment augment,
                          std::int64_t mosaics = 0) -> std::shared_ptr<const DetectionSource> {
    if (images.empty()) return nullptr;
    return std::make_shared<DetectionSource>(
        images, static_cast<int>(detector.classes.size()), static_cast<int>(detector.height),
        static_cast<int>(detector.width), augment, mosaics, detector.form, room);
  };
  if (asked) {
    const auto count = static_cast<std::int64_t>(data.train.size() + data.validation.size());
    setup.notices.push_back(
        room_sentence(config, *room, count * 3 * detector.height * detector.width));
  }
  const Augmentation augmentation = augmentation_of(config);
  // The last tenth of the epochs sees pictures as they are.
  const std::int64_t mosaics = augmentation.mosaic ? config.epochs - (config.epochs + 9) / 10 : 0;
  const auto validation = source(data.validation, Augment::none);
  setup.train = source(data.train, augmentation.augment, mosaics);
  setup.validation = validation;
  setup.probed = source(data.validation.empty() ? data.train : data.validation, Augment::none);
  setup.options = trainer_options(config, device);
  setup.options.schedule.warmup = 0.05;
  setup.image = {detector.height, detector.width, 3};
  setup.metadata = metadata_of(detector);
  setup.loss = "focal+giou";
  setup.head = {"heat.*", "ltrb.*"};
  setup.classes = data.classes;
  count_objects(data, detector, setup);
  if (augmentation.mosaic) {
    setup.images_sentence += fmt::format(", as mosaics of four in the first {} epochs", mosaics);
  }
  if (!data.record.pictures.empty()) {
    setup.begin = [record = data.record, run = std::filesystem::path(config.out)] {
      write_atomically(run / "split.tsv", record.text());
    };
  }
  setup.test = [images = source(data.test, Augment::none), options = setup.options,
                run = config.out] { return test(run, images, options); };
  setup.task = std::make_unique<DetectionTask>(detector, validation);
  setup.model = std::make_unique<CentreDetector>(detector);
  return setup;
}

}  // namespace tapescope::tasks
