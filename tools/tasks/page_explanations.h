// The explanations on a report's page.
#pragma once

#include "tools/explanation/picture_settings.h"
#include "tools/tasks/benchmark_explanations.h"
#include "tools/tasks/report_page.h"

namespace tapescope::tasks {

// By the methods that the page asks for. One that the model does not admit is noted on the page
// when it is first tried, and not tried again.
class PageExplanations {
 public:
  using Json = ReportPage::Json;
  // All three outlive it. `asked` is what `explainer` was made with.
  PageExplanations(ReportPage& page, const ExplainOptions& asked, PictureExplainer& explainer)
      : page_(page),
        asked_(asked),
        explainer_(explainer),
        methods_(explainer.methods()),
        scores_(explainer.metrics()) {}
  PictureSettings settings(const Preprocess& preprocess, const Picture& picture) const {
    return {asked_.request, preprocess, picture};
  }

  // What the explainer looks at by one method after the other; `take` gets the maps, one per
  // target.
  using Take =
      std::function<void(const std::string& method, const explain::ExplainOptions& settings,
                         const std::vector<explain::Attribution>& maps)>;
  void explain(PictureSettings& settings, const Take& take);
  // Of an explainer that looks at one target: appends its maps to `maps`, under the target's name.
  // `score`: they are scored, and maps that know nothing beside them.
  void explain_target(PictureSettings& settings, const std::string& name, bool score, Json& maps);
  // Scores one target's maps and what knows nothing.
  void score(const std::string& method, const explain::Attribution& map,
             const explain::ExplainOptions& settings);
  void score_controls();
  // Puts the scores on the page, where there are any. `one`, `many`: what their means are over.
  void finish(const char* one, const char* many);

 private:
  ReportPage& page_;
  const ExplainOptions& asked_;
  PictureExplainer& explainer_;
  std::vector<std::string> methods_;
  QualityTable scores_;
};

// A map that the page colours and reads out.
ReportPage::Json map_json(const explain::Attribution& attribution);

}  // namespace tapescope::tasks
