#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/quality/panel.h"

namespace tapescope::quality {

// {"deletion": 0.31, ...}, with "infidelity_standard_error" and the like where one is known; null
// for what does not apply or is not finite.
inline nlohmann::ordered_json quality_json(const Panel& panel,
                                           std::span<const MetricInfo> metrics = all_metrics()) {
  nlohmann::ordered_json result;
  for (std::size_t i = 0; i < panel.values.size(); ++i) {
    const double v = panel.values[i];
    const std::string name(metrics[i].name);
    result[name] = std::isfinite(v) ? nlohmann::ordered_json(v) : nlohmann::ordered_json();
    if (i < panel.errors.size() && std::isfinite(panel.errors[i])) {
      result[name + "_standard_error"] = panel.errors[i];
    }
  }
  return result;
}

}  // namespace tapescope::quality
