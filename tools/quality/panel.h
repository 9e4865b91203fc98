// All scores of one map, side by side.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/quality/faithfulness.h"
#include "tools/quality/map_metrics.h"

namespace tapescope::quality {

struct MetricInfo {
  std::string_view name;
  int better = 0;  // 1: more is better, -1: less is, 0: neither
  bool needs_mask = false;
  std::string_view what;  // one line
};
// In the order of Panel::values.
std::span<const MetricInfo> all_metrics();

// One picture and the class that is explained.
struct Subject {
  Tensor x;            // f32 {1,H,W,C}
  Scores probability;  // of the class, of changed pictures: f32 {M,H,W,C} -> f32 {M}
  Tensor baseline;     // f32 {1,H,W,C}: what deletion and infidelity put in the place of pixels
  Tensor blurred;      // f32 {1,H,W,C}: what insertion starts from
  std::optional<Mask> mask;
};

struct Judged {
  Map map;              // at the picture's size
  MapOf map_of;         // the same method's map of another picture; undefined: not scored
  Map of_random_model;  // the same method's map where all parameters are random; empty: not scored
};

struct PanelOptions {
  int steps = 20;                // of deletion and insertion
  int infidelity_draws = 50;     // squares
  int sensitivity_draws = 4;     // maps
  double radius = 0.02;          // of max-sensitivity, as a share of the picture's range
  double tolerance = 15. / 224;  // of the pointing game, as a share of the shorter side
  std::uint64_t seed = 0;
  int chunk = 8;
};

struct Panel {
  std::vector<double>
      values;  // one per metric; NaN: does not apply, or is not defined for this map
  // Standard errors of those that are means over what is drawn, likewise; empty: none are known.
  std::vector<double> errors{};
};
Panel score(const Subject& subject, const Judged& judged, const PanelOptions& options = {});

// Rows under one another, the better end of each column named; NaN is a dash.
struct PanelRow {
  std::string method;
  Panel panel;
};
std::string to_text(const std::vector<PanelRow>& rows,
                    std::span<const MetricInfo> metrics = all_metrics());

// Mean of each value over panels, those that are NaN left out, and its standard error (NaN for
// fewer than two).
struct PanelMean {
  Panel mean, standard_error;
};
PanelMean mean_of(const std::vector<Panel>& panels);

}  // namespace tapescope::quality
