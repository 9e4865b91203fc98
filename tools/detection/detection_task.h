// Finding objects, as the trainer sees it.
#pragma once

#include "tools/detection/centre_detector.h"
#include "tools/detection/coco_evaluation.h"
#include "tools/detection/detection_source.h"
#include "tools/training/task.h"

namespace tapescope::detection {

// A box with the cell of the heat map that it came from: what an explanation starts at.
struct Seen {
  Box box;  // in the picture's pixels, or the input's where that is said
  int category = 0;
  float score = 0;
  int cell_y = 0, cell_x = 0;
};

// The boxes of one image from a detector's predictions {h,w,C+4}: peaks' probabilities (0
// elsewhere) and (x0, y0, x1, y1) in the input's pixels, as they stay. The `most` best above
// `least`; equal ones in the order of cells, row by row.
std::vector<Seen> decode(std::span<const float> predictions, std::int64_t h, std::int64_t w,
                         std::int64_t classes, int most = 100, float least = 0.01f);
// The same with the net's own suppression among them, before any is cut off.
std::vector<Seen> choose(std::span<const float> predictions, std::int64_t h, std::int64_t w,
                         std::int64_t classes, const Selection& selection, int most = 100,
                         float least = 0.01f);
// Greedy, class by class, best first: boxes that overlap a kept one by more than `threshold` go.
// The `most` best of those that stay.
std::vector<Seen> suppress(std::vector<Seen> seen, double threshold,
                           std::size_t most = static_cast<std::size_t>(-1));

// COCO's average precision over a source.
class DetectionMetrics final : public Metrics {
 public:
  explicit DetectionMetrics(const DetectionSource& source, Selection selection = {})
      : source_(source), selection_(selection) {}
  void add(const Batch& batch, const Tensor& loss, const Tensor& predictions) override;
  double loss() const override;
  double score() const override;  // AP over IoU 0.50 to 0.95
  CocoResult result() const;
  // In the pictures' pixels; the image is the position in the source, from 0.
  const std::vector<Detection>& detections() const { return detections_; }
  std::vector<Truth> truths() const;

 private:
  const DetectionSource& source_;
  Selection selection_;
  double loss_ = 0;
  std::vector<std::int64_t> seen_;
  std::vector<Detection> detections_;
};

class DetectionTask final : public Task {
 public:
  // `evaluated`: the source that metrics are about.
  DetectionTask(DetectorConfig config, std::shared_ptr<const DetectionSource> evaluated)
      : config_(std::move(config)), evaluated_(std::move(evaluated)) {}
  std::string_view score_name() const override { return "AP"; }
  NamedVars inputs(Tape& tape, std::int64_t batch_size) const override;
  // Terms: heat_map_loss and box_loss, whose sum it is; positives, the cells of an image that are
  // some object's centre.
  Loss loss(const NamedVars& inputs, const NamedVars& outputs) const override;
  // {N,h,w,C+4}: see decode().
  Var predictions(const NamedVars& outputs) const override;
  std::unique_ptr<Metrics> metrics() const override;

 private:
  DetectorConfig config_;
  std::shared_ptr<const DetectionSource> evaluated_;
};

}  // namespace tapescope::detection
