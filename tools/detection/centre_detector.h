// A detector that finds the centres of objects and, from there, their four sides.
#pragma once

#include "layers/layers.h"
#include "tools/detection/backbone.h"

namespace tapescope::detection {

// Zhou et al. 2019 (arXiv 1904.07850) found objects as points; Liu et al. 2019 (arXiv 1909.00700)
// gave every cell near a centre its box to regress to, so that it trains fast, here without
// pretraining and batch norms everywhere. Four levels to stride 16, back up to stride 4 by
// addition, two heads. With a backbone its maps stand in place of the levels: weights for it are
// read under its own names.
//
// {"image": {N,H,W,3}} to {"heat": logits {N,H/4,W/4,C}, "ltrb": {N,H/4,W/4,4}}: how far the left,
// top, right and lower side lie from the cell's corner (4x, 4y), in pixels, never negative.
class CentreDetector final : public BoxNet {
 public:
  explicit CentreDetector(const DetectorConfig& config);
  NamedVars operator()(const NamedVars& inputs) const override;
  const DetectorConfig& config() const override { return config_; }
  Grid grid() const override;
  CellVars cells(const NamedVars& outputs) const override;
  std::string shared_map(int y, int x) const override;
  bool learns() const override { return true; }
  std::unique_ptr<Task> task(std::shared_ptr<const DetectionSource> source) const override;
  // The two heads; lateral and smoothing layers; levels.
  std::unique_ptr<BoxNet> randomised(DetectorPart part, std::uint64_t seed) const override;

 private:
  std::int64_t scaled(std::int64_t channels) const;
  void make_levels();
  std::array<Var, 3> levels(Var image) const;  // of strides 4, 8, 16
  DetectorConfig config_;
  std::unique_ptr<Backbone> backbone_;      // null: the levels
  std::array<std::int64_t, 3> channels_;    // of strides 4, 8, 16
  Sequential level4_, level8_, level16_;    // to strides 4, 8, 16
  Conv2d lateral16_, lateral8_, lateral4_;  // of strides 16, 8, 4
  Sequential smooth8_, smooth4_;            // of strides 8, 4
  Sequential heat_, ltrb_;
};

}  // namespace tapescope::detection
