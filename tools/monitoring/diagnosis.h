// What a training's history says is wrong with it, in plain language.
#pragma once

#include <string>
#include <vector>

#include "tools/monitoring/history.h"

namespace tapescope::monitoring {

// Below so many an accuracy may be off by 18 points (at 95 %).
constexpr std::int64_t kFewImages = 30;

struct Finding {
  std::string kind;        // "overfitting", "vanishing-gradients", ...: see diagnosis.cpp
  std::string evidence;    // a sentence with the numbers
  std::string advice;      // what to try
  bool is_problem = true;  // false: worth knowing
};

// Problems first. Empty for a healthy training. Quantities that were not recorded are not judged.
std::vector<Finding> diagnose(const History& history);

// The batch size from which on more images per step bring little: the gradient noise scale
// tr(S) / |G|^2 (McCandlish et al. 2018), numerator and denominator averaged apart over the
// training's last half. 0 where it cannot be told.
double gradient_noise_scale(const History& history);

// Per parameter over the training's last half, medians of the records; what the rows of tables are.
struct ParameterStatistics {
  std::string name;
  double gradient = 0, weight = 0, update = 0;
  double update_to_weight = 0, gradient_to_weight = 0;
  // |E g| / std g of the batch's gradient: sqrt(|G|^2 B / tr S). 0: the sign cannot be told.
  double signal_to_noise = 0;
};
std::vector<ParameterStatistics> parameter_statistics(const History& history);

// For a terminal: the findings, then what fits a screen beside them, or `all` epochs and
// parameters.
std::string to_text(const History& history, const std::vector<Finding>& findings, bool all = false);
std::string to_json(const History& history, const std::vector<Finding>& findings);

}  // namespace tapescope::monitoring
