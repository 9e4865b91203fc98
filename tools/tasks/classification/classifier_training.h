// What the trainings of nets with class scores share, whatever an answer means.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/tasks/training_setup.h"
#include "tools/training/classifier_file.h"
#include "tools/training/config.h"
#include "tools/training/onnx_start.h"

namespace tapescope::tasks {

// What the run that is resumed says of its data; nothing of a new run.
std::optional<ModelInfo> resumed_info(const TrainConfig& config, const TrainingRequest& request);

// The ONNX file that a new training begins with; null for a model of the zoo, and of a run that is
// resumed, which has its own.
std::shared_ptr<OnnxStart> onnx_start(const TrainConfig& config,
                                      const std::optional<ModelInfo>& resumed);

// How the data of a training is opened.
DataOptions training_data_options(const TrainConfig& config,
                                  const std::optional<ModelInfo>& resumed, const OnnxStart* start);

// Says on stderr what was noticed, left out and changed. Throws a usage error where the data is not
// as the training left it and that is not accepted.
void tell_data(const DataSplits& data, const TrainConfig& config, const TrainingRequest& request);

// What differs between them.
struct ClassifierParts {
  std::shared_ptr<const DataSplits> data;  // with training pictures
  std::shared_ptr<OnnxStart> start;        // see onnx_start()
  std::vector<std::string> classes;        // of the net's outputs
  const char* of_classes = "";             // in sentences: "of {} classes"
  const char* score_key = "";              // of metrics.json: "test_accuracy"
  std::string loss;                        // as the run's files name it
  std::vector<double> (*probabilities)(const Tensor& logits) = nullptr;
  std::function<std::unique_ptr<Task>(const ModelConfig&)> task;
  std::function<std::shared_ptr<const SampleSource>(std::shared_ptr<const Dataset> split,
                                                    const Pipeline& pipeline,
                                                    std::shared_ptr<PictureRoom> room)>
      source;
  // Which of `classes` a training picture counts to.
  std::function<std::vector<std::int64_t>(std::int64_t image)> classes_of;
};
TrainingSetup classifier_setup(const TrainConfig& config, const ResolvedTraining& resolved,
                               const std::optional<ModelInfo>& resumed,
                               const ClassifierParts& parts);

}  // namespace tapescope::tasks
