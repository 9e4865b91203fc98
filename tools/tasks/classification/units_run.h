// A net of an ONNX file whose answers are no classes: a map of text, one number. What is explained
// is a unit of its output.
#pragma once

#include "tools/tasks/classification/classifier_run.h"

namespace tapescope::tasks {

class UnitsRun final : public ClassifierRun {
 public:
  // `output`: what the file calls what it answers.
  UnitsRun(const Kit& kit, RunRequest asked, LoadedModel loaded, std::string output);

  // A target is "[C,Y,X]", with the output's name before it or without, or predicted: the largest
  // unit.
  std::unique_ptr<PictureExplainer> explainer(const ExplainOptions& options) const override;

  // There is nothing to compare its answers with.
  RunData data(const DataRequest& request) const override;
  Answer evaluate(const EvaluationRequest& request, const Backend& backend) const override;
  Finder finder(const Finding& finding, const Backend& backend) const override;
  Answer suspects(const DataRequest& request, std::int64_t most,
                  const Backend& backend) const override;
  void report(ReportPage& page) const override;

 private:
  [[noreturn]] void refuse() const;
  std::string output_;
};

}  // namespace tapescope::tasks
