// train of a classifier: from a folder to what the trainer is given.
#include "tools/data/layout.h"
#include "tools/files/folders.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/classification/classifier_training.h"

namespace tapescope::tasks {
namespace {

DataSplits open_training(const TrainConfig& config, const TrainingRequest& request,
                         const std::optional<ModelInfo>& resumed, const OnnxStart* start) {
  DataSplits data = open_data(config.data, training_data_options(config, resumed, start));
  tell_data(data, config, request);
  if (data.train == nullptr) {
    throw usage_error(
        "'{}' has no training pictures; a folder `train` with a folder per class in it is needed "
        "(of IDX: train-images-idx3-ubyte and train-labels-idx1-ubyte; of shards: tar files in it)"
        "{}",
        config.data, is_folder(config.data) ? deeper_hint(config.data) : "");
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
  const std::optional<ModelInfo> resumed = resumed_info(config, request);
  const std::shared_ptr<OnnxStart> start = onnx_start(config, resumed);
  const auto data =
      std::make_shared<const DataSplits>(open_training(config, request, resumed, start.get()));
  const ResolvedTraining resolved = resolve(config, *data, start.get());
  ClassifierParts parts;
  parts.start = start;
  parts.data = data;
  parts.classes = data->classes;
  parts.of_classes = "of {} classes";
  parts.score_key = "test_accuracy";
  parts.loss = config.loss;
  parts.probabilities = probabilities_of;
  parts.task = [loss = resolved.loss](const ModelConfig& model) {
    return std::make_unique<Classification>(model, loss);
  };
  parts.source = [](std::shared_ptr<const Dataset> split, const Pipeline& pipeline,
                    std::shared_ptr<PictureRoom> room) {
    return std::make_shared<ImageSource>(std::move(split), pipeline, std::move(room));
  };
  parts.classes_of = [data](std::int64_t image) { return std::vector{data->train->label(image)}; };
  return classifier_setup(config, resolved, resumed, parts);
}

}  // namespace tapescope::tasks
