// One class per picture.
#pragma once

#include "tools/tasks/classification/classifier_run.h"

namespace tapescope::tasks {

class ClassificationRun final : public ClassifierRun {
 public:
  ClassificationRun(const Kit& kit, RunRequest asked, LoadedModel loaded)
      : ClassifierRun(kit, std::move(asked), std::move(loaded), {softmax, probabilities_of}) {}

  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  OtherAnswer explain_otherwise(const OtherCommand& command) const override;
  void report(ReportPage& page) const override;

  // Opens a folder for the split; what it has to say is in its notices.
  DataSplits open(const DataRequest& request) const;
};

class ClassificationKit final : public Kit {
 public:
  std::string_view name() const override { return "classification"; }
  std::vector<std::string> models() const override { return classifier_names(); }
  const char* usual_methods() const override {
    return "grad-cam,lrp-epsilon-plus,integrated-gradients";
  }
  bool takes(const TrainConfig&) const override { return true; }
  bool wrote(const SafetensorsFile& file) const override;
  std::unique_ptr<Run> open(SafetensorsFile& file, RunRequest asked,
                            const LoadOptions& options) const override;
  std::unique_ptr<Run> open_onnx(const RunRequest& asked, onnx::Graph& graph) const override;
  std::unique_ptr<Run> make(ModelConfig config) const override;
  TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const override;
};

// How well the boxes of a run's class maps lie on pictures annotated with boxes.
Answer evaluate_localisation(const ClassificationRun& run, const EvaluationRequest& request,
                             const Backend& backend);

}  // namespace tapescope::tasks
