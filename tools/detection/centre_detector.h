// A detector that finds the centres of objects and, from there, their four sides.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "layers/layers.h"
#include "tools/data/dataset.h"

namespace tapescope::detection {

struct DetectorConfig {
  std::vector<std::string> classes;
  std::int64_t height = 240, width = 320;  // of the input; multiples of 16
  double channel_scale = 1.0;              // of the hidden channel counts: --width
  std::uint64_t seed = 0;
  std::vector<std::string> category_ids =
      {};                    // by class, in the data's JSON, as JSON text; or none
  Exif exif = Exif::ignore;  // how its pictures are read; model files of before say nothing
  // Of its data, where no folder names a split.
  double validation_fraction = 0, test_fraction = 0;
  Draw draw = Draw::stratified;  // model files of before say nothing
  BadImage on_bad_image = BadImage::fail;
  std::filesystem::path split_record = {};       // RUN/split.tsv, where there is one
  std::shared_ptr<std::int64_t> room = nullptr;  // see Module
};

// Zhou et al. 2019 (arXiv 1904.07850) found objects as points; Liu et al. 2019 (arXiv 1909.00700)
// gave every cell near a centre its box to regress to, so that it trains fast, here without
// pretraining and batch norms everywhere. Four levels to stride 16, back up to stride 4 by
// addition, two heads.
//
// {"image": {N,H,W,3}} to {"heat": logits {N,H/4,W/4,C}, "ltrb": {N,H/4,W/4,4}}: how far the left,
// top, right and lower side lie from the cell's corner (4x, 4y), in pixels, never negative.
class CentreDetector final : public Model {
 public:
  explicit CentreDetector(const DetectorConfig& config);
  NamedVars operator()(const NamedVars& inputs) const override;
  const DetectorConfig& config() const { return config_; }

 private:
  std::int64_t scaled(std::int64_t channels) const;
  DetectorConfig config_;
  Sequential level4_, level8_, level16_;    // to strides 4, 8, 16
  Conv2d lateral16_, lateral8_, lateral4_;  // of strides 16, 8, 4
  Sequential smooth8_, smooth4_;            // of strides 8, 4
  Sequential heat_, ltrb_;
};

}  // namespace tapescope::detection
