// Boxes around objects.
#pragma once

#include "tools/detection/detection_source.h"
#include "tools/detection/detector_file.h"
#include "tools/tasks/kit.h"

namespace tapescope::tasks {

class DetectionRun final : public Run {
 public:
  // `name`: of the model; `path`: of its file.
  DetectionRun(const Kit& kit, RunRequest asked, std::string name, std::filesystem::path path,
               std::unique_ptr<detection::BoxNet> model);

  const detection::BoxNet& model() const override { return *model_; }
  const detection::DetectorConfig& config() const { return model_->config(); }
  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Predicted predict(const PredictionRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  const char* suspects_key() const override { return "annotation_suspects"; }
  std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const override;
  void report(ReportPage& page) const override;

 private:
  detection::DetectionData open(const DataRequest& request) const;
  std::shared_ptr<const detection::DetectionSource> source_of(
      std::vector<detection::AnnotatedImage> images) const;

  std::unique_ptr<detection::BoxNet> model_;
};

class DetectionKit final : public Kit {
 public:
  std::string_view name() const override { return "detection"; }
  std::vector<std::string> models() const override { return {"centre-detector"}; }
  const char* usual_methods() const override { return "odam,lrp-epsilon-plus,saliency"; }
  bool takes(const TrainConfig& config) const override { return config.model == models()[0]; }
  bool wrote(const SafetensorsFile& file) const override;
  std::unique_ptr<Run> open(SafetensorsFile& file, RunRequest asked,
                            const LoadOptions& options) const override;
  std::unique_ptr<Run> open_onnx(const RunRequest& asked, onnx::Graph& graph) const override;
  std::unique_ptr<Run> make(ModelConfig config) const override;
  TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const override;
};

}  // namespace tapescope::tasks
