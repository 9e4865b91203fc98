// Boxes around objects.
#pragma once

#include "tools/detection/annotations.h"
#include "tools/detection/detector_file.h"
#include "tools/tasks/kit.h"

namespace tapescope::tasks {

class DetectionRun final : public Run {
 public:
  DetectionRun(const Kit& kit, RunRequest asked, detection::LoadedDetector loaded);

  const Kit& kit() const override { return kit_; }
  Model& model() const override { return *loaded_.model; }
  std::string name() const override { return "centre-detector"; }
  const std::vector<std::string>& classes() const override { return config().classes; }
  const Preprocess& preprocess() const override { return preprocess_; }  // of letterboxed pictures
  const std::filesystem::path& path() const override { return loaded_.path; }
  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Predicted predict(const PredictionRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  const char* suspects_key() const override { return "annotation_suspects"; }
  std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const override;
  void report(ReportPage& page) const override;

  detection::CentreDetector& detector() const { return *loaded_.model; }
  const detection::DetectorConfig& config() const { return loaded_.model->config(); }

 private:
  const Kit& kit_;
  detection::DetectionData open(const DataRequest& request) const;

  detection::LoadedDetector loaded_;
  Preprocess preprocess_;
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
  std::unique_ptr<Run> make(ModelConfig config) const override;
  TrainingSetup prepare(TrainConfig& config, const TrainingRequest& request) const override;
};

}  // namespace tapescope::tasks
