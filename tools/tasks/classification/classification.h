// One class a picture.
#pragma once

#include "tools/tasks/kit.h"
#include "tools/training/classifier_file.h"

namespace tapescope::tasks {

class ClassificationRun final : public Run {
 public:
  ClassificationRun(const Kit& kit, RunRequest asked, LoadedModel loaded);

  const Kit& kit() const override { return kit_; }
  Model& model() const override { return *loaded_.model; }
  std::string name() const override { return loaded_.info.config.name; }
  const std::vector<std::string>& classes() const override { return loaded_.info.classes; }
  const Preprocess& preprocess() const override { return preprocess_; }
  const std::filesystem::path& path() const override { return loaded_.path; }
  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Predicted predict(const PredictionRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  const char* suspects_key() const override { return "label_suspects"; }
  std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const override;
  OtherAnswer explain_otherwise(const OtherCommand& command) const override;
  void report(ReportPage& page) const override;

  ClassLogits class_logits() const;
  const LoadedModel& loaded() const { return loaded_; }
  // Opens a folder for the split; what it has to say is in its notices.
  DataSplits open(const DataRequest& request) const;

 private:
  const Kit& kit_;
  LoadedModel loaded_;
  Preprocess preprocess_;
};

class ClassificationKit final : public Kit {
 public:
  std::string_view name() const override { return "classification"; }
  std::vector<std::string> models() const override;
  const char* usual_methods() const override {
    return "grad-cam,lrp-epsilon-plus,integrated-gradients";
  }
  bool takes(const TrainConfig&) const override { return true; }
  bool wrote(const SafetensorsFile& file) const override;
  std::unique_ptr<Run> open(SafetensorsFile& file, RunRequest asked,
                            const LoadOptions& options) const override;
  std::unique_ptr<Run> make(ModelConfig config) const override;
  TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const override;
};

// How well the boxes of a run's class maps lie on pictures annotated with boxes.
Answer evaluate_localisation(const ClassificationRun& run, const EvaluationRequest& request,
                             const Backend& backend);

// The likeliest classes of pictures, as Run::predict. `answers` makes probabilities of logits.
Predicted predict_classes(const ClassLogits& net, Var (*answers)(Var logits), Model& model,
                          const PredictionRequest& request, const Backend& backend);

}  // namespace tapescope::tasks
