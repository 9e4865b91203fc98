// Scores of explanations for pictures of a run: what `explain --score` and `benchmark-explanations`
// print.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli/explanation_options.h"
#include "tools/quality/panel.h"

namespace tapescope::cli {

class Judge {
 public:
  // `explainer` and `loaded` must outlive it.
  Judge(explain::Explainer& explainer, const LoadedModel& loaded, const Backend& backend,
        const ExplanationOptions& options);

  // A new picture, and the class that is explained. The mask, if any, is one of the model's input.
  void look_at(const Picture& picture, std::int64_t index, std::optional<quality::Mask> mask);
  // nullopt where the method's map is over no picture (units of a dense layer).
  std::optional<quality::PanelRow> score(const explain::Attribution& attribution,
                                         const explain::ExplainOptions& settings);
  // The maps that know nothing.
  std::vector<quality::PanelRow> score_controls();

 private:
  explain::Explainer& explainer_;
  LoadedModel random_;  // the same net with random parameters
  explain::Explainer random_explainer_;
  const ModelInfo& info_;
  quality::PanelOptions options_;
  quality::Subject subject_;
  Tensor classes_;  // i64 {1}
};

// What is scored of a method's map: at the picture's size, signs as the method means them.
Map scored_map(std::string_view method, const Tensor& map, const Tensor& picture);

// The mask that lies at `path`, brought through the model's crops and sizes as its picture is:
// values above three quarters of 255 are the cause, so that grey can mark what is near it. Throws a
// usage error where it has not the picture's size.
quality::Mask read_mask(const std::string& path, const Picture& picture, const ModelInfo& info);

}  // namespace tapescope::cli
