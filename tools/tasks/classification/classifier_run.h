// Runs of nets with class scores, whatever an answer means.
#pragma once

#include "autograd/ops/ops.h"
#include "tools/tasks/kit.h"
#include "tools/training/classifier_file.h"

namespace tapescope::tasks {

// How logits {N,K} become probabilities: recorded, and of one picture {1,K} on the host.
struct Answers {
  Var (*record)(Var logits);
  std::vector<double> (*of)(const Tensor& logits);
  bool shares = true;  // probabilities of classes; else the numbers of units
};

class ClassifierRun : public Run {
 public:
  ClassifierRun(const Kit& kit, RunRequest asked, LoadedModel loaded, Answers answers);

  const Classifier& model() const override { return *loaded_.model; }
  const ModelInfo& info() const { return loaded_.info; }
  ClassLogits class_logits() const;
  Predicted predict(const PredictionRequest& request, const Backend& backend) const override;
  std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const override;
  const char* suspects_key() const override { return "label_suspects"; }

 protected:
  // How its data is opened.
  DataOptions data_options(const DataRequest& request) const;

 private:
  LoadedModel loaded_;
  Answers answers_;
};

// What --model may name for them, and one of these: 0 classes are 1000, size 0 the model's usual.
std::vector<std::string> classifier_names();
LoadedModel untrained_classifier(ModelConfig config);

}  // namespace tapescope::tasks
