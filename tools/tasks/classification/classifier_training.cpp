#include "tools/tasks/classification/classifier_training.h"

#include <fmt/format.h>

#include <cmath>

#include "tools/data/splits.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/tasks/classification/class_explainer.h"

namespace tapescope::tasks {
namespace {

// The best checkpoint on the test split.
TestResult test(const ClassifierParts& parts, const std::shared_ptr<const SampleSource>& pictures,
                const TrainerOptions& options, const std::string& run) {
  if (!pictures) {
    return {{{parts.score_key, std::nan("")}, {"test_loss", std::nan("")}},
            "no test pictures: a folder `test` holds them, or --test-fraction sets some aside"};
  }
  const LoadedModel best = load_model(run, "best", {.allow_non_finite = true});
  const std::unique_ptr<Task> task = parts.task(best.info.config);
  const std::unique_ptr<Metrics> metrics =
      evaluate(*best.model, *task, pictures, options.batch_size, options.loader_threads,
               {options.device, options.kernels});
  return {{{parts.score_key, metrics->score()}, {"test_loss", metrics->loss()}},
          fmt::format("test {} {:.2f} %, loss {:.4f}", task->score_name(), 100 * metrics->score(),
                      metrics->loss())};
}

}  // namespace

std::optional<ModelInfo> resumed_info(const TrainConfig& config, const TrainingRequest& request) {
  if (!goes_on(config, request)) return {};
  return read_model_info(config.out, "last");
}

DataOptions training_data_options(const TrainConfig& config,
                                  const std::optional<ModelInfo>& resumed) {
  DataOptions options;
  if (resumed) options = data_options_of(*resumed, "train");
  options.resume = resumed.has_value();
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  options.on_bad_image = bad_image_from(config.on_bad_image);
  options.exif = exif_from_name(config.exif);
  return options;
}

void tell_data(const DataSplits& data, const TrainConfig& config, const TrainingRequest& request) {
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images) {
    fmt::print(stderr, "left out: {}\n", printable(bad));
  }
  expect_accepted(data.changes, config, request);
}

TrainingSetup classifier_setup(const TrainConfig& config, const ResolvedTraining& resolved,
                               const std::optional<ModelInfo>& resumed,
                               const ClassifierParts& parts) {
  const DataSplits& data = *parts.data;
  const ModelInfo info{resolved.model,
                       parts.classes,
                       resolved.test_pipeline,
                       parts.loss,
                       config.validation_fraction,
                       config.test_fraction,
                       config.seed,
                       resumed ? resumed->draw : Draw::content,
                       bad_image_from(config.on_bad_image),
                       {},
                       exif_from_name(config.exif)};
  const auto source = [&](const std::shared_ptr<const Dataset>& split, const Pipeline& pipeline) {
    return split ? parts.source(split, pipeline) : nullptr;
  };
  auto model = make_model(resolved.model);
  TrainingSetup setup;
  setup.train = source(data.train, resolved.train_pipeline);
  setup.validation = source(data.validation, resolved.test_pipeline);
  setup.probed = source(data.validation ? data.validation : data.train, resolved.test_pipeline);
  setup.options = resolved.trainer;
  setup.image = info.preprocess().image;
  setup.metadata = metadata_of(info);
  setup.loss = parts.loss;
  setup.classes = parts.classes;
  setup.per_class.assign(parts.classes.size(), 0);
  for (std::int64_t i = 0; i < data.train->size(); ++i) {
    for (std::int64_t c : parts.classes_of(i)) ++setup.per_class[static_cast<std::size_t>(c)];
  }
  setup.images_sentence =
      fmt::format("{} training, {} validation and {} test images {}", data.train->size(),
                  data.validation ? data.validation->size() : 0, data.test ? data.test->size() : 0,
                  fmt::format(fmt::runtime(parts.of_classes), parts.classes.size()));
  setup.notices = resolved.notices;
  setup.begin = [splits = parts.data, run = std::filesystem::path(config.out)] {
    write_atomically(run / "split.tsv", record_of(*splits).text());
  };
  setup.watched =
      ClassLogits{logits_of(*model), info.preprocess(), info.classes, parts.probabilities};
  setup.test = [parts, pictures = source(data.test, resolved.test_pipeline),
                options = resolved.trainer,
                run = config.out] { return test(parts, pictures, options, run); };
  setup.task = parts.task(resolved.model);
  setup.model = std::move(model);
  return setup;
}

}  // namespace tapescope::tasks
