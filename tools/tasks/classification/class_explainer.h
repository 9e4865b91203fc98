// Explanations of a classifier's class scores, and how good they are.
#pragma once

#include <memory>

#include "layers/module.h"
#include "tools/quality/randomisation.h"
#include "tools/tasks/picture_explainer.h"

namespace tapescope::tasks {

class ClassExplainer final : public PictureExplainer {
 public:
  // `model` is what `net` records; both outlive it.
  ClassExplainer(const Classifier& model, ClassLogits net, const ExplainOptions& options);

  void look_at(const std::string& path, Choose choose) override;
  // The same of a picture at hand, with the class that is explained.
  void look_at(Picture picture, std::int64_t index);
  quality::Mask read_mask(const std::string& path) const override;
  void use_mask(const quality::Mask& mask) override { subject_.mask = mask; }
  std::vector<std::string> methods() const override { return request_.chosen_methods(); }
  std::vector<explain::Attribution> explain(const std::string& method,
                                            const explain::ExplainOptions& settings) override;
  std::string not_finite(std::size_t target, const explain::Attribution& map) override;
  std::span<const quality::MetricInfo> metrics() const override { return quality::all_metrics(); }
  std::vector<std::optional<quality::Panel>> score(
      const std::string& method, std::span<const explain::Attribution> maps,
      const explain::ExplainOptions& settings) override;
  std::vector<quality::PanelRow> score_controls(std::size_t target) override;
  bool of_classes() const override { return true; }
  LedgerTable ledger(const std::string& method, const explain::ExplainOptions& settings) override;
  void keep_for_cascade(const explain::Attribution& map,
                        const explain::ExplainOptions& settings) override;
  void run_cascade() override;
  nlohmann::ordered_json cascade_json() const override;
  std::string cascade_text() const override;

  // Of its answer to the picture, one per class.
  std::vector<double> probabilities();

 private:
  // The same scores of another model of this kind.
  ClassLogits scores_of(const Classifier& model) const;
  explain::Explainer explainer_for(const Classifier& model) const;  // on the device

  const Classifier& model_;
  ClassLogits net_;
  ExplanationRequest request_;
  Backend backend_;
  explain::Explainer explainer_;
  std::unique_ptr<Classifier> random_model_;  // the same net with random parameters
  std::unique_ptr<explain::Explainer> random_explainer_;
  Tensor classes_;  // i64 {1}: what is explained
  quality::Subject subject_;
  quality::PanelOptions panel_options_;

  struct CascadeItem {
    std::string method;
    Tensor picture, classes;
    explain::ExplainOptions settings;
  };
  std::vector<double> cascade_means(const quality::CascadeStep& step) const;  // one per method
  std::vector<CascadeItem> cascade_items_;
  std::vector<Map> cascade_own_;
  std::vector<std::string> cascade_methods_;
  std::vector<quality::CascadeStep> cascade_steps_;
};

// The logits of a classifier.
explain::Explainer::Record logits_of(const Classifier& model);

}  // namespace tapescope::tasks
