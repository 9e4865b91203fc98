#include "tools/detection/detection_task.h"

#include <algorithm>

#include "tools/detection/detection_losses.h"

namespace tapescope::detection {

std::vector<Seen> decode(std::span<const float> predictions, std::int64_t h, std::int64_t w,
                         std::int64_t classes, int most, float least) {
  std::vector<Seen> found;
  const auto depth = static_cast<std::size_t>(classes + 4);
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      const auto cell = predictions.subspan(static_cast<std::size_t>(y * w + x) * depth, depth);
      for (std::int64_t c = 0; c < classes; ++c) {
        const float score = cell[static_cast<std::size_t>(c)];
        if (!(score > least)) continue;
        const float* box = cell.data() + classes;
        found.push_back({{box[0], box[1], box[2] - box[0], box[3] - box[1]},
                         static_cast<int>(c),
                         score,
                         static_cast<int>(y),
                         static_cast<int>(x)});
      }
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Seen& a, const Seen& b) { return a.score > b.score; });
  if (found.size() > static_cast<std::size_t>(most)) found.resize(static_cast<std::size_t>(most));
  return found;
}

std::vector<Seen> choose(std::span<const float> predictions, std::int64_t h, std::int64_t w,
                         std::int64_t classes, const Selection& selection, int most, float least) {
  if (selection.nms <= 0) return decode(predictions, h, w, classes, most, least);
  constexpr int kCandidates = 30000;  // as Ultralytics has it
  return suppress(decode(predictions, h, w, classes, kCandidates, least), selection.nms,
                  static_cast<std::size_t>(most));
}

std::vector<Seen> suppress(std::vector<Seen> seen, double threshold, std::size_t most) {
  std::stable_sort(seen.begin(), seen.end(),
                   [](const Seen& a, const Seen& b) { return a.score > b.score; });
  std::vector<Seen> kept;
  for (const Seen& candidate : seen) {
    if (kept.size() == most) break;
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Seen& other) {
      return other.category == candidate.category && iou(other.box, candidate.box) > threshold;
    });
    if (!covered) kept.push_back(candidate);
  }
  return kept;
}

void DetectionMetrics::add(const Batch& batch, const Tensor& loss, const Tensor& predictions) {
  const Shape& shape = predictions.shape();
  for (std::int64_t n = 0; n < batch.rows(); ++n) {
    const std::int64_t index = batch.indices[static_cast<std::size_t>(n)];
    const AnnotatedImage& image = source_.annotation(index);
    const Letterbox box = source_.letterbox(index);
    const Tensor row = predictions.rows(n, n + 1);
    for (const Seen& found :
         choose(row.values<float>(), shape[1], shape[2], shape[3] - 4, selection_)) {
      const Box seen = box.into_picture(found.box, image.height, image.width);
      if (seen.area() > 0) detections_.push_back({index, found.category, seen, found.score});
    }
    loss_ += loss.item(n);
    seen_.push_back(index);
  }
}

double DetectionMetrics::loss() const {
  return seen_.empty() ? 0 : loss_ / static_cast<double>(seen_.size());
}

std::vector<Truth> DetectionMetrics::truths() const {
  std::vector<Truth> truths;
  for (std::int64_t index : seen_) {
    for (const Object& o : source_.annotation(index).objects) {
      truths.push_back({index, static_cast<std::int64_t>(truths.size()) + 1, o.category, o.box,
                        o.area, o.crowd, o.difficult});
    }
  }
  return truths;
}

CocoResult DetectionMetrics::result() const {
  std::vector<int> categories;
  for (int c = 0; c < source_.classes(); ++c) categories.push_back(c);
  return evaluate_coco(truths(), detections_, seen_, categories);
}

double DetectionMetrics::score() const { return std::max(0.0, result().summary()[0]); }

NamedVars DetectionTask::inputs(Tape& tape, std::int64_t batch_size) const {
  const std::int64_t h = config_.height / kStride, w = config_.width / kStride;
  const auto classes = static_cast<std::int64_t>(config_.classes.size());
  return {
      {"image", tape.input("image", DType::f32, {batch_size, config_.height, config_.width, 3})},
      {"heat", tape.input("heat", DType::f32, {batch_size, h, w, classes})},
      {"sides", tape.input("sides", DType::f32, {batch_size, h, w, 4})},
      {"weight", tape.input("weight", DType::f32, {batch_size, h, w, 1})}};
}

Loss DetectionTask::loss(const NamedVars& inputs, const NamedVars& outputs) const {
  const Tape::Scope in(outputs.at("heat").tape(), "loss");
  const Var heat = penalty_reduced_focal_loss(outputs.at("heat"), inputs.at("heat"));
  const Var box =
      box_loss(decode_sides(outputs.at("ltrb"), kStride), inputs.at("sides"), inputs.at("weight"));
  return {add(heat, box),
          {{"heat_map_loss", heat},
           {"box_loss", box},
           {"positives", centres_per_sample(inputs.at("heat"))}}};
}

Var DetectionTask::predictions(const NamedVars& outputs) const {
  const Var p = sigmoid(outputs.at("heat"));
  return predictions_of({p, decode_sides(outputs.at("ltrb"), kStride)}, true);
}

std::unique_ptr<Metrics> DetectionTask::metrics() const {
  return std::make_unique<DetectionMetrics>(*evaluated_);
}

}  // namespace tapescope::detection
