// Any number of labels per picture.
#pragma once

#include "tools/tasks/kit.h"
#include "tools/tasks/multilabel/label_data.h"
#include "tools/training/classifier_file.h"

namespace tapescope::tasks {

class MultiLabelRun final : public Run {
 public:
  MultiLabelRun(const Kit& kit, RunRequest asked, LoadedModel loaded);

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
  void report(ReportPage& page) const override;

  ClassLogits class_logits() const;
  Classifier& classifier() const { return *loaded_.model; }

 private:
  LabelledData open(const DataRequest& request) const;

  const Kit& kit_;
  LoadedModel loaded_;
  Preprocess preprocess_;
};

class MultiLabelKit final : public Kit {
 public:
  std::string_view name() const override { return "multi-label"; }
  std::vector<std::string> models() const override;
  const char* usual_methods() const override {
    return "grad-cam,lrp-epsilon-plus,integrated-gradients";
  }
  bool takes(const TrainConfig& config) const override { return has_label_table(config.data); }
  bool wrote(const SafetensorsFile&) const override { return false; }  // always names its task
  std::unique_ptr<Run> open(SafetensorsFile& file, RunRequest asked,
                            const LoadOptions& options) const override;
  std::unique_ptr<Run> make(ModelConfig config) const override;
  TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const override;
};

}  // namespace tapescope::tasks
