// Any number of labels per picture.
#pragma once

#include "tools/tasks/classification/classifier_run.h"
#include "tools/tasks/multilabel/label_data.h"
#include "tools/tasks/multilabel/label_task.h"

namespace tapescope::tasks {

class MultiLabelRun final : public ClassifierRun {
 public:
  MultiLabelRun(const Kit& kit, RunRequest asked, LoadedModel loaded)
      : ClassifierRun(kit, std::move(asked), std::move(loaded), {sigmoid, label_probabilities}) {}

  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  void report(ReportPage& page) const override;

 private:
  LabelledData open(const DataRequest& request) const;
};

class MultiLabelKit final : public Kit {
 public:
  std::string_view name() const override { return "multi-label"; }
  std::vector<std::string> models() const override { return classifier_names(); }
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
