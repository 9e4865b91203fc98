// train of a net with labels: from a folder to what the trainer is given.
#include "tools/files/text.h"
#include "tools/tasks/classification/classifier_training.h"
#include "tools/tasks/multilabel/label_task.h"
#include "tools/tasks/multilabel/multilabel.h"

namespace tapescope::tasks {
namespace {

LabelledData open_training(const TrainConfig& config, const TrainingRequest& request,
                           const std::optional<ModelInfo>& resumed, const OnnxStart* start) {
  DataOptions options = training_data_options(config, resumed, start);
  options.classes.clear();  // they are sets of labels here
  LabelledData data =
      open_labelled(config.data, options, resumed ? resumed->classes : std::vector<std::string>{},
                    config.allow_outside);
  tell_data(data.splits, config, request);
  if (data.splits.train == nullptr) {
    throw usage_error("'{}' has no training pictures", printable(config.data));
  }
  return data;
}

}  // namespace

TrainingSetup MultiLabelKit::prepare(TrainConfig& config, const TrainingRequest& request) const {
  const std::optional<ModelInfo> resumed = resumed_info(config, request);
  const std::shared_ptr<OnnxStart> start = onnx_start(config, resumed);
  const auto data =
      std::make_shared<const LabelledData>(open_training(config, request, resumed, start.get()));
  DataSplits of_labels = data->splits;  // what a net answers are labels, not sets of them
  of_labels.classes = data->labels;
  const ResolvedTraining resolved = resolve(config, of_labels, start.get());
  ClassifierParts parts;
  parts.start = start;
  parts.data = std::shared_ptr<const DataSplits>(data, &data->splits);
  parts.classes = data->labels;
  parts.of_classes = "with {} labels";
  parts.score_key = "test_map";
  parts.loss = "bce";
  parts.probabilities = label_probabilities;
  parts.task = [](const ModelConfig& model) { return std::make_unique<LabelTask>(model); };
  parts.source = [data](std::shared_ptr<const Dataset> split, const Pipeline& pipeline,
                        std::shared_ptr<PictureRoom> room) {
    return std::make_shared<LabelSource>(std::move(split), pipeline, data->sets,
                                         static_cast<std::int64_t>(data->labels.size()),
                                         std::move(room));
  };
  parts.classes_of = [data](std::int64_t image) {
    return data->sets[static_cast<std::size_t>(data->splits.train->label(image))];
  };
  return classifier_setup(config, resolved, resumed, parts);
}

}  // namespace tapescope::tasks
