#include <algorithm>
#include <cmath>

#include "tools/cli/cli.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/inspected.h"
#include "tools/cli/training_run.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/detector_file.h"

namespace tapescope::cli {
namespace {

using detection::DetectionSource;

using Images = std::vector<detection::AnnotatedImage>;

// The middle one of the pictures by `of`.
template <class Of>
const detection::AnnotatedImage& middle(const Images& images, Of&& of) {
  std::vector<const detection::AnnotatedImage*> sorted;
  for (const detection::AnnotatedImage& image : images) sorted.push_back(&image);
  const auto it = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), it, sorted.end(),
                   [&](const auto* a, const auto* b) { return of(*a) < of(*b); });
  return **it;
}

int longer_side(const detection::AnnotatedImage& image) {
  return std::max(image.height, image.width);
}

// The recipe of shared experience with small sets: AdamW, a short warm-up, a cosine.
void choose(TrainConfig& c, const Images& images) {
  if (c.image_size == 0) {
    c.image_size = std::min(320, longer_side(middle(images, longer_side)));
  }
  if (c.optimizer == "sgd" && c.lr == 0) c.optimizer = "adamw";
  if (c.lr == 0) {
    c.lr = std::round(2.5e-3 * std::sqrt(static_cast<double>(c.batch_size) / 8) * 1e5) / 1e5;
  }
  if (c.weight_decay < 0) c.weight_decay = 0.01;
  if (c.clip_gradient == 0) c.clip_gradient = 35;
  if (c.augment == "auto") c.augment = "flip";
}

struct Augmentation {
  detection::Augment augment;
  bool mosaic = false;
};
Augmentation augmentation_of(const TrainConfig& c) {
  using detection::Augment;
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
  return std::any_of(images.begin(), images.end(), [](const detection::AnnotatedImage& image) {
    return std::any_of(image.objects.begin(), image.objects.end(),
                       [](const detection::Object& o) { return !o.crowd; });
  });
}

// The longer side is --image-size, the other follows the picture of middle proportions; both
// multiples of 16.
detection::DetectorConfig config_of(const TrainConfig& c, const detection::DetectionData& data) {
  const detection::AnnotatedImage& usual =
      middle(data.train, [](const detection::AnnotatedImage& image) {
        return static_cast<double>(image.height) / image.width;
      });
  const double scale = static_cast<double>(c.image_size) / longer_side(usual);
  const auto side = [&](int extent) {
    return std::max<std::int64_t>(32, 16 * std::llround(extent * scale / 16));
  };
  return {data.classes, side(usual.height), side(usual.width),     c.width,
          c.seed,       data.category_ids,  exif_from_name(c.exif)};
}

// A run that goes on keeps the size that it began with, whatever pictures have come or gone.
void keep_size(detection::DetectorConfig& config, const std::string& run) {
  const std::filesystem::path last = std::filesystem::path(run) / "checkpoints/last.safetensors";
  std::error_code error;
  if (!std::filesystem::exists(last, error)) return;
  const auto loaded = detection::load_detector(run, "last");
  config.height = loaded.model->config().height;
  config.width = loaded.model->config().width;
}

}  // namespace

int train_detector(TrainConfig& config, const TrainingRequest& request) {
  check_options(config);
  const Device device = device_from_name(config.device);
  config.device = name_of(device.kind);
  detection::DetectionData data = detection::open_detection_data(
      config.data, {.allow_outside = request.allow_outside,
                    .on_bad_image = bad_image_from(config.on_bad_image),
                    .exif = exif_from_name(config.exif)});
  say(data);
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
  choose(config, data.train);
  detection::DetectorConfig detector = config_of(config, data);
  if (request.resume) keep_size(detector, config.out);
  const auto source = [&](const std::vector<detection::AnnotatedImage>& images,
                          detection::Augment augment,
                          std::int64_t mosaics = 0) -> std::shared_ptr<const DetectionSource> {
    if (images.empty()) return nullptr;
    return std::make_shared<DetectionSource>(images, static_cast<int>(detector.classes.size()),
                                             static_cast<int>(detector.height),
                                             static_cast<int>(detector.width), augment, mosaics);
  };
  const Augmentation augmentation = augmentation_of(config);
  // The last tenth of the epochs sees pictures as they are.
  const std::int64_t mosaics = augmentation.mosaic ? config.epochs - (config.epochs + 9) / 10 : 0;
  const auto train = source(data.train, augmentation.augment, mosaics);
  const auto validation = source(data.validation, detection::Augment::none);
  const auto test = source(data.test, detection::Augment::none);
  detection::CentreDetector model(detector);
  monitoring::ProgressLine out;
  if (!config.weights.empty() && !request.resume) {
    for (const std::string& sentence : load_weights(model, config.weights)) out.line(sentence);
  }
  if (!config.freeze.empty()) {
    out.line(fmt::format("frozen: {} parameters", freeze(model, config.freeze)));
  }
  const detection::DetectionTask task(detector, validation);
  TrainerOptions options;
  options.epochs = config.epochs;
  options.batch_size = config.batch_size;
  options.seed = config.seed;
  options.loader_threads = static_cast<int>(config.loader_threads);
  options.log_every = config.log_every;
  options.statistics_every = config.statistics_every;
  options.checkpoint_every = config.checkpoint_every;
  options.device = device;
  options.kernels = parse_kernels(config.kernel);
  options.optimizer.name = config.optimizer;
  options.optimizer.weight_decay = config.weight_decay;
  options.optimizer.clip_gradient = config.clip_gradient;
  options.schedule.name = config.schedule;
  options.schedule.peak = config.lr;
  options.schedule.warmup = 0.05;
  Trainer trainer(model, task, train, validation, options);

  const Backend backend{options.device, options.kernels};
  TrainingRun run{.config = config,
                  .resume = request.resume,
                  .plan = request.plan,
                  .json = request.json,
                  .model = model,
                  .trainer = trainer,
                  .device = device,
                  .metadata = detection::metadata_of(detector),
                  .start = {}};
  run.start.score = task.score_name();
  run.start.model = config.model;
  run.start.loss = "focal+giou";
  run.start.epochs = config.epochs;
  run.start.steps = trainer.steps_per_epoch() * config.epochs;
  run.start.batch_size = config.batch_size;
  run.start.learning_rate = config.lr;
  run.start.classes = data.classes;
  run.start.images.assign(data.classes.size(), 0);
  std::int64_t objects = 0;
  for (const detection::AnnotatedImage& image : data.train) {
    for (const detection::Object& o : image.objects) {
      if (o.crowd) continue;
      ++run.start.images[static_cast<std::size_t>(o.category)];
      ++objects;
    }
  }
  run.training_images = static_cast<std::int64_t>(data.train.size());
  run.start.validation_images = static_cast<std::int64_t>(data.validation.size());
  run.start.parameters = trainer.statistics_names();
  if (!request.plan) {
    run.probe = std::make_unique<inspection::PulseProbe>(
        record_of(model), Shape{detector.height, detector.width, 3}, backend);
    run.probe_images = probe_images(
        *source(data.validation.empty() ? data.train : data.validation, detection::Augment::none));
  }
  run.images_sentence = fmt::format(
      "{} training images with {} objects, {} validation and {} test images, {} classes, seen at "
      "{}x{}",
      data.train.size(), objects, data.validation.size(), data.test.size(), data.classes.size(),
      detector.width, detector.height);
  if (augmentation.mosaic) {
    run.images_sentence += fmt::format(", as mosaics of four in the first {} epochs", mosaics);
  }
  run.test = [&]() -> TestResult {
    if (!test) return {{{"test_ap", std::nan("")}, {"test_ap50", std::nan("")}}, ""};
    const detection::LoadedDetector best =
        detection::load_detector(config.out, "best", {.allow_non_finite = true});
    const detection::DetectionTask about_test(detector, test);
    const std::unique_ptr<Metrics> metrics =
        evaluate(*best.model, about_test, test, config.batch_size, 2, backend);
    const auto& found = dynamic_cast<const detection::DetectionMetrics&>(*metrics);
    const std::array<double, 12> summary = found.result().summary();
    TestResult result;
    for (std::size_t i = 0; i < summary.size(); ++i) {
      result.numbers.emplace_back(fmt::format("test_{}", detection::CocoResult::summary_names()[i]),
                                  summary[i]);
    }
    result.numbers.emplace_back("test_loss", metrics->loss());
    result.sentence = fmt::format("test AP {:.4f}, AP50 {:.4f}, AP75 {:.4f} (COCO's rules)",
                                  summary[0], summary[1], summary[2]);
    return result;
  };
  return request.use ? request.use(run) : run_training(std::move(run), out);
}

}  // namespace tapescope::cli
