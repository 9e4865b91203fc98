#include "tools/quality/panel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/quality/randomisation.h"

namespace tapescope::quality {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

constexpr MetricInfo kMetrics[] = {
    {"deletion", -1, false, "area under the class's probability as the map's first pixels go"},
    {"insertion", 1, false, "the same as they come back into a blurred picture"},
    {"road", 1, false, "probability without the least minus without the most relevant, halved"},
    {"infidelity", -1, false, "share of the changes by random squares that the map does not tell"},
    {"sensitivity", -1, false, "largest relative change of the map under unseen noise"},
    {"sparseness", 0, false, "Gini index of the absolute values"},
    {"complexity", 0, false, "entropy of the absolute values, in nats"},
    {"randomised", -1, false, "rank correlation with the map of the same net, parameters random"},
    {"mass", 1, true, "share of the positive relevance inside the mask"},
    {"rank", 1, true, "share of the highest values inside the mask"},
    {"pointing", 1, true, "whether the highest value lies in the mask"},
};

}  // namespace

std::span<const MetricInfo> all_metrics() { return kMetrics; }

Panel score(const Subject& subject, const Judged& judged, const PanelOptions& options) {
  const Map& map = judged.map;
  Panel panel;
  auto& v = panel.values;
  const Scores& p = subject.probability;
  v.push_back(deletion(p, subject.x, subject.baseline, map, options.steps, options.chunk).area);
  v.push_back(insertion(p, subject.x, subject.blurred, map, options.steps, options.chunk).area);
  v.push_back(road(p, subject.x, map, options.seed, options.chunk));
  const Drawn infidelity = square_infidelity(p, subject.x, subject.baseline, map,
                                             options.infidelity_draws, options.seed, options.chunk);
  panel.errors.assign(std::size(kMetrics), kUnknown);
  panel.errors[v.size()] = infidelity.standard_error;
  v.push_back(infidelity.value);
  v.push_back(judged.map_of ? max_sensitivity(judged.map_of, subject.x, map, options.radius,
                                              options.sensitivity_draws, options.seed)
                            : kUnknown);
  v.push_back(sparseness(map.values));
  v.push_back(complexity(map.values));
  v.push_back(judged.of_random_model.values.empty() ? kUnknown
                                                    : similarity(map, judged.of_random_model));
  if (subject.mask) {
    const double tolerance = options.tolerance * std::min(map.height, map.width);
    v.push_back(mass_accuracy(map, *subject.mask));
    v.push_back(rank_accuracy(map, *subject.mask));
    v.push_back(pointing_game(map, *subject.mask, tolerance));
  } else {
    v.insert(v.end(), 3, kUnknown);
  }
  return panel;
}

std::string to_text(const std::vector<PanelRow>& rows, std::span<const MetricInfo> metrics) {
  std::size_t width = 6;
  for (const PanelRow& row : rows) width = std::max(width, row.method.size());
  const auto shown = [&](std::size_t column) {
    return !metrics[column].needs_mask ||
           std::any_of(rows.begin(), rows.end(),
                       [&](const PanelRow& row) { return !std::isnan(row.panel.values[column]); });
  };
  std::string text = fmt::format("{:<{}}", "method", width),
              better = fmt::format("{:<{}}", "", width);
  for (std::size_t c = 0; c < metrics.size(); ++c) {
    if (!shown(c)) continue;
    text += fmt::format(" {:>11}", metrics[c].name);
    better += fmt::format(" {:>11}", metrics[c].better > 0   ? "(more)"
                                     : metrics[c].better < 0 ? "(less)"
                                                             : "");
  }
  text += "\n" + better + "\n";
  for (const PanelRow& row : rows) {
    text += fmt::format("{:<{}}", row.method, width);
    for (std::size_t c = 0; c < metrics.size(); ++c) {
      if (!shown(c)) continue;
      const double value = row.panel.values[c];
      const double error = c < row.panel.errors.size() ? row.panel.errors[c] : kUnknown;
      text += std::isnan(value) ? fmt::format(" {:>11}", "-")
              : std::isnan(error)
                  ? fmt::format(" {:>11.3f}", value)
                  : fmt::format(" {:>11}", fmt::format("{:.2f}±{:.2f}", value, error));
    }
    text += "\n";
  }
  return text;
}

PanelMean mean_of(const std::vector<Panel>& panels) {
  PanelMean result;
  const std::size_t columns = panels.empty() ? 0 : panels[0].values.size();
  for (std::size_t c = 0; c < columns; ++c) {
    double sum = 0, squares = 0, count = 0;
    for (const Panel& panel : panels) {
      const double v = panel.values[c];
      if (std::isnan(v)) continue;
      sum += v;
      squares += v * v;
      count += 1;
    }
    const double mean = count > 0 ? sum / count : kUnknown;
    const double variance = std::max(0.0, squares / count - mean * mean);
    result.mean.values.push_back(mean);
    result.standard_error.values.push_back(count > 1 ? std::sqrt(variance / (count - 1))
                                                     : kUnknown);
  }
  return result;
}

}  // namespace tapescope::quality
