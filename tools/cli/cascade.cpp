#include "tools/cli/cascade.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/cli/judge.h"

namespace tapescope::cli {

void Cascade::add(const explain::Attribution& attribution, const Tensor& picture,
                  const Tensor& classes, const explain::ExplainOptions& settings) {
  items_.push_back({attribution.method, picture, classes, settings});
  own_.push_back(scored_map(attribution.method, attribution.map, picture));
  if (std::find(methods_.begin(), methods_.end(), attribution.method) == methods_.end()) {
    methods_.push_back(attribution.method);
  }
}

void Cascade::run(const LoadedModel& loaded, const Backend& backend,
                  const ExplanationOptions& options) {
  const std::size_t total = quality::layers_from_output(*loaded.model).size();
  std::size_t done = 0;
  steps_ = quality::cascade(
      *loaded.model, options.settings.seed, own_, [&](std::unique_ptr<Classifier> model) {
        const LoadedModel changed{std::move(model), loaded.info, loaded.path};
        explain::Explainer explainer = explainer_of(changed, backend, options);
        std::vector<Map> maps;
        for (const Item& item : items_) {
          const explain::Attribution again =
              explainer.explain(item.method, item.picture, item.classes, item.settings);
          maps.push_back(scored_map(item.method, again.map, item.picture));
        }
        fmt::print(stderr, "random layers: {} of {}\n", ++done, total);
        return maps;
      });
}

std::vector<double> Cascade::means(const quality::CascadeStep& step) const {
  std::vector<double> result;
  for (const std::string& method : methods_) {
    double sum = 0;
    int count = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      // A map of one value everywhere has no ranks.
      if (items_[i].method != method || std::isnan(step.similarity[i])) continue;
      sum += step.similarity[i];
      ++count;
    }
    result.push_back(count > 0 ? sum / count : std::nan(""));
  }
  return result;
}

nlohmann::ordered_json Cascade::json() const {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const quality::CascadeStep& step : steps_) {
    nlohmann::ordered_json methods;
    const std::vector<double> mean = means(step);
    for (std::size_t m = 0; m < methods_.size(); ++m) {
      methods[methods_[m]] =
          std::isnan(mean[m]) ? nlohmann::ordered_json() : nlohmann::ordered_json(mean[m]);
    }
    steps.push_back({{"layer", step.layer}, {"methods", methods}});
  }
  return steps;
}

std::string Cascade::text() const {
  std::size_t widest = 5;
  for (const quality::CascadeStep& step : steps_) widest = std::max(widest, step.layer.size());
  std::string text = fmt::format("{:<{}}", "layer", widest);
  for (const std::string& method : methods_) text += "  " + method;
  text += "\n";
  for (const quality::CascadeStep& step : steps_) {
    text += fmt::format("{:<{}}", step.layer, widest);
    const std::vector<double> mean = means(step);
    for (std::size_t m = 0; m < methods_.size(); ++m) {
      const std::string number = std::isnan(mean[m]) ? "-" : fmt::format("{:.3f}", mean[m]);
      text += fmt::format("  {:>{}}", number, methods_[m].size());
    }
    text += "\n";
  }
  return text;
}

}  // namespace tapescope::cli
