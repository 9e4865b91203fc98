// train of a net with labels: from a folder to what the trainer is given.
#include <fmt/ranges.h>

#include <cmath>

#include "tools/data/splits.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/multilabel/label_task.h"
#include "tools/tasks/multilabel/multilabel.h"

namespace tapescope::tasks {
namespace {

LabelledData open_training(const TrainConfig& config, const TrainingRequest& request,
                           const std::optional<ModelInfo>& resumed) {
  DataOptions options;
  if (resumed) options = data_options_of(*resumed, "train");
  options.classes.clear();
  options.resume = resumed.has_value();
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  options.on_bad_image = bad_image_from(config.on_bad_image);
  options.exif = exif_from_name(config.exif);
  LabelledData data =
      open_labelled(config.data, options, resumed ? resumed->classes : std::vector<std::string>{},
                    config.allow_outside);
  for (const std::string& notice : data.splits.notices) {
    fmt::print(stderr, "{}\n", printable(notice));
  }
  if (!data.splits.changes.empty() && request.data_changed != "accept") {
    throw usage_error(
        "--resume: '{}' is not as the training left it: {}; bring it back, or go on with what "
        "is there with --data-changed accept",
        config.data, fmt::join(data.splits.changes, "; "));
  }
  if (data.splits.train == nullptr) {
    throw usage_error("'{}' has no training pictures", printable(config.data));
  }
  return data;
}

}  // namespace

TrainingSetup MultiLabelKit::prepare(TrainConfig& config, const TrainingRequest& request) const {
  const std::filesystem::path last =
      std::filesystem::path(config.out) / "checkpoints/last.safetensors";
  const std::optional<ModelInfo> resumed = request.resume && std::filesystem::exists(last)
                                               ? std::optional(read_model_info(config.out, "last"))
                                               : std::nullopt;
  const auto data = std::make_shared<const LabelledData>(open_training(config, request, resumed));
  const DataSplits& splits = data->splits;
  DataSplits of_labels = splits;  // what a net answers are labels, not sets of them
  of_labels.classes = data->labels;
  ResolvedTraining resolved = resolve(config, of_labels);
  auto model = make_model(resolved.model);
  const auto count = static_cast<std::int64_t>(data->labels.size());
  const auto source = [&](const std::shared_ptr<const Dataset>& split,
                          const Pipeline& pipeline) -> std::shared_ptr<const SampleSource> {
    return split ? std::make_shared<LabelSource>(split, pipeline, data->sets, count) : nullptr;
  };
  const ModelInfo info{resolved.model,
                       data->labels,
                       resolved.test_pipeline,
                       "bce",
                       config.validation_fraction,
                       config.test_fraction,
                       config.seed,
                       resumed ? resumed->draw : Draw::content,
                       bad_image_from(config.on_bad_image),
                       {},
                       exif_from_name(config.exif)};
  TrainingSetup setup;
  setup.train = source(splits.train, resolved.train_pipeline);
  setup.validation = source(splits.validation, resolved.test_pipeline);
  setup.probed =
      source(splits.validation ? splits.validation : splits.train, resolved.test_pipeline);
  setup.options = resolved.trainer;
  setup.image = info.preprocess().image;
  setup.metadata = metadata_of(info);
  setup.loss = info.loss;
  setup.classes = data->labels;
  setup.per_class.assign(data->labels.size(), 0);
  for (std::int64_t i = 0; i < splits.train->size(); ++i) {
    for (std::int64_t k : data->sets[static_cast<std::size_t>(splits.train->label(i))]) {
      ++setup.per_class[static_cast<std::size_t>(k)];
    }
  }
  setup.images_sentence =
      fmt::format("{} training, {} validation and {} test images with {} labels",
                  splits.train->size(), splits.validation ? splits.validation->size() : 0,
                  splits.test ? splits.test->size() : 0, data->labels.size());
  setup.notices = resolved.notices;
  setup.begin = [data, run = std::filesystem::path(config.out)] {
    write_atomically(run / "split.tsv", record_of(data->splits).text());
  };
  setup.watched =
      ClassLogits{logits_of(*model), info.preprocess(), info.classes, label_probabilities};
  setup.test = [test = source(splits.test, resolved.test_pipeline), trainer = resolved.trainer,
                run = config.out]() -> TestResult {
    if (!test) {
      return {{{"test_map", std::nan("")}, {"test_loss", std::nan("")}},
              "no test pictures: a folder `test` holds them, or --test-fraction sets some aside"};
    }
    const LoadedModel best = load_model(run, "best", {.allow_non_finite = true});
    const LabelTask task(best.info.config);
    const std::unique_ptr<Metrics> metrics =
        evaluate(*best.model, task, test, trainer.batch_size, trainer.loader_threads,
                 {trainer.device, trainer.kernels});
    return {{{"test_map", metrics->score()}, {"test_loss", metrics->loss()}},
            fmt::format("test mAP {:.2f} %, loss {:.4f}", 100 * metrics->score(), metrics->loss())};
  };
  setup.model = std::move(model);
  setup.task = std::make_unique<LabelTask>(resolved.model);
  return setup;
}

}  // namespace tapescope::tasks
