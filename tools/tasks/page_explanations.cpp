#include "tools/tasks/page_explanations.h"

#include "tools/explanation/drawing.h"
#include "tools/page/page.h"

namespace tapescope::tasks {

using Json = ReportPage::Json;

void PageExplanations::explain(PictureSettings& settings, const Take& take) {
  std::erase_if(methods_, [&](const std::string& method) {
    try {
      const explain::ExplainOptions its = settings.of(method);
      take(method, its, explainer_.explain(method, its));
      return false;
    } catch (const Error& refused) {
      page_.note(fmt::format("{} is left out: {}", method, refused.what()));
      return true;
    }
  });
}

void PageExplanations::explain_target(PictureSettings& settings, const std::string& name,
                                      bool scored, Json& maps) {
  explain(settings, [&](const std::string& method, const explain::ExplainOptions& its,
                        const std::vector<explain::Attribution>& found) {
    maps.push_back(map_json(found[0]));
    maps.back()["target"] = name;
    if (scored) score(method, found[0], its);
  });
  if (scored) score_controls();
}

void PageExplanations::score(const std::string& method, const explain::Attribution& map,
                             const explain::ExplainOptions& settings) {
  if (const auto panel = explainer_.score(method, {&map, 1}, settings)[0]) {
    scores_.add("", {method, *panel});
  }
}

void PageExplanations::score_controls() {
  for (const quality::PanelRow& row : explainer_.score_controls(0)) scores_.add("", row);
}

void PageExplanations::finish(const char* one, const char* many) {
  if (Json json = scores_.json("", one, many); !json.is_null()) page_["quality"] = std::move(json);
}

Json map_json(const explain::Attribution& a) {
  const DrawableMap drawn = drawable(a);
  const page::PackedMap packed = page::packed(drawn.map, kMap);
  return {{"method", a.method},
          {"colours", drawn.colors == Colors::diverging ? "diverging" : "sequential"},
          {"height", packed.height},
          {"width", packed.width},
          {"scale", packed.scale},
          {"values", packed.values},
          {"value", a.value.defined() ? Json(a.value.item()) : Json()},
          {"residual", a.residual.defined() ? Json(a.residual.item()) : Json()},
          {"forward_passes", a.forward_passes}};
}

}  // namespace tapescope::tasks
