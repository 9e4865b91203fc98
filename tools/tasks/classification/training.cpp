// train of a classifier: from a folder to what the trainer is given.
#include <fmt/ranges.h>

#include <cmath>

#include "tools/data/splits.h"
#include "tools/files/atomic_file.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/classification.h"

namespace tapescope::tasks {
namespace {

// What the run that is resumed says of its data.
std::optional<ModelInfo> resumed_info(const TrainConfig& config) {
  const std::filesystem::path last =
      std::filesystem::path(config.out) / "checkpoints/last.safetensors";
  if (!std::filesystem::exists(last)) return {};  // resuming will say so
  return read_model_info(config.out, "last");
}

DataOptions data_options(const TrainConfig& config, const std::optional<ModelInfo>& resumed) {
  DataOptions options;
  if (resumed) options = data_options_of(*resumed, "train");
  options.resume = resumed.has_value();
  options.skip_advised = true;
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  options.on_bad_image = bad_image_from(config.on_bad_image);
  options.exif = exif_from_name(config.exif);
  return options;
}

DataSplits open_training(const TrainConfig& config, const TrainingRequest& request,
                const std::optional<ModelInfo>& resumed) {
  DataSplits data = open_data(config.data, data_options(config, resumed));
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  for (const std::string& bad : data.bad_images) fmt::print(stderr, "left out: {}\n", bad);
  if (!data.changes.empty()) {
    const std::string changes = fmt::format("{}", fmt::join(data.changes, "; "));
    if (request.data_changed != "accept") {
      throw usage_error(
          "--resume: '{}' is not as the training left it: {}; bring it back, or go on with what "
          "is there with --data-changed accept",
          config.data, changes);
    }
    fmt::print(stderr, "the data changed since the training began: {}\n", changes);
  }
  if (data.train == nullptr) {
    throw usage_error(
        "'{}' has no training pictures; a folder `train` with a folder per class in it is needed "
        "(of IDX: train-images-idx3-ubyte and train-labels-idx1-ubyte){}",
        config.data, deeper_hint(config.data));
  }
  if (data.classes.size() < 2) {
    throw usage_error("'{}' has one class, '{}'; a classifier needs at least two class folders",
                      config.data, data.classes.empty() ? "" : data.classes[0]);
  }
  return data;
}

}  // namespace

TrainingSetup ClassificationKit::prepare(TrainConfig& config,
                                         const TrainingRequest& request) const {
  const std::optional<ModelInfo> resumed =
      request.resume ? resumed_info(config) : std::optional<ModelInfo>();
  const auto data = std::make_shared<const DataSplits>(open_training(config, request, resumed));
  ResolvedTraining resolved = resolve(config, *data);
  auto model = make_model(resolved.model);
  auto task = std::make_unique<Classification>(resolved.model, resolved.loss);
  const auto source = [&](const std::shared_ptr<const Dataset>& split,
                          const Pipeline& pipeline) -> std::shared_ptr<const SampleSource> {
    return split ? std::make_shared<ImageSource>(split, pipeline) : nullptr;
  };
  const ModelInfo info{resolved.model,
                       data->classes,
                       resolved.test_pipeline,
                       config.loss,
                       config.validation_fraction,
                       config.test_fraction,
                       config.seed,
                       resumed ? resumed->draw : Draw::content,
                       bad_image_from(config.on_bad_image),
                       {},
                       exif_from_name(config.exif)};
  TrainingSetup setup;
  setup.train = source(data->train, resolved.train_pipeline);
  setup.validation = source(data->validation, resolved.test_pipeline);
  setup.probed = source(data->validation ? data->validation : data->train, resolved.test_pipeline);
  setup.options = resolved.trainer;
  setup.image = info.preprocess().image;
  setup.metadata = metadata_of(info);
  setup.loss = config.loss;
  setup.classes = data->classes;
  setup.per_class.assign(data->classes.size(), 0);
  for (std::int64_t i = 0; i < data->train->size(); ++i) {
    ++setup.per_class[static_cast<std::size_t>(data->train->label(i))];
  }
  setup.images_sentence =
      fmt::format("{} training, {} validation and {} test images of {} classes",
                  data->train->size(), data->validation ? data->validation->size() : 0,
                  data->test ? data->test->size() : 0, data->classes.size());
  setup.notices = resolved.notices;
  setup.begin = [data, run = std::filesystem::path(config.out)] {
    write_atomically(run / "split.tsv", record_of(*data).text());
  };
  setup.watched = ClassLogits{logits_of(*model), info.preprocess(), info.classes, probabilities_of};
  setup.test = [data, loss = resolved.loss, pipeline = resolved.test_pipeline,
                trainer = resolved.trainer, run = config.out]() -> TestResult {
    if (!data->test) {
      return {{{"test_accuracy", std::nan("")}, {"test_loss", std::nan("")}},
              "no test pictures: a folder `test` holds them, or --test-fraction sets some aside"};
    }
    const LoadedModel best = load_model(run, "best", {.allow_non_finite = true});
    const Classification of_best(best.info.config, loss);
    const std::unique_ptr<Metrics> test =
        evaluate(*best.model, of_best, data->test, pipeline, trainer.batch_size,
                 trainer.loader_threads, {trainer.device, trainer.kernels});
    return {{{"test_accuracy", test->score()}, {"test_loss", test->loss()}},
            fmt::format("test accuracy {:.2f} %, loss {:.4f}", 100 * test->score(), test->loss())};
  };
  setup.model = std::move(model);
  setup.task = std::move(task);
  return setup;
}

}  // namespace tapescope::tasks
