// Methods that only look at scores of changed pictures, or of changed feature maps.
#include <algorithm>

#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/score_cam.h"
#include "autograd/explain/target.h"

namespace tapescope::explain {

Attribution Explainer::from_changed_pictures(const Request& request) {
  const ExplainOptions& options = request.options;
  Prepared& target = target_program();
  const Scores scores = gradients(target, request.classes);
  const std::int64_t height = request.image.shape()[1], width = request.image.shape()[2];
  const Tensor baseline = baselines_of(request)[0];
  // A grid of no more features than can be paid for.
  int cells = std::max(1, options.grid);
  // Shapley sampling takes a permutation and its reverse; a fit is well determined by twice as many
  // pairs of coalitions as features.
  const double for_all = request.method == "shapley" ? 2 : request.method == "kernel-shap" ? 4 : 1;
  while (cells > 1 && for_all * (cells * cells + 1) + 2 > options.budget) --cells;
  const Segments segments =
      options.segments.count > 0 ? options.segments : Segments::grid(height, width, cells, cells);
  Attribution result;
  result.node = target.node;
  result.value = scores(request.image);
  Estimate estimate;
  if (request.method == "feature-ablation") {
    estimate = feature_ablation(scores, request.image, baseline, segments, options.chunk);
  } else if (request.method == "rise") {
    constexpr int kCells = 7;  // the paper's
    estimate = rise(scores, request.image, baseline, kCells,
                    std::max(2, static_cast<int>(options.budget) - 1), options.seed, options.chunk);
  } else if (request.method == "lime") {
    LimeOptions surrogate;
    surrogate.forwards = options.budget - 1;
    surrogate.seed = options.seed;
    estimate = lime(scores, request.image, baseline, segments, surrogate, options.chunk);
  } else if (request.method == "kernel-shap") {
    estimate = kernel_shap(scores, request.image, baseline, segments, options.budget - 2,
                           options.seed, options.chunk);
    Tensor change = result.value.clone();
    add_share(change, scores(baseline), -1);
    result.residual = residual_of(change, estimate.map);
  } else {
    estimate = shapley_sampling(scores, request.image, baseline, segments, options.budget - 2,
                                options.seed, options.chunk);
    Tensor change = result.value.clone();
    add_share(change, scores(baseline), -1);
    result.residual = residual_of(change, estimate.map);
  }
  result.map = estimate.map;
  result.error_estimate = estimate.error;
  // The target, and for a residual the target at the baseline.
  result.forward_passes = estimate.points + (result.residual.defined() ? 2 : 1);
  if (cells < options.grid && options.segments.count == 0 && request.method != "rise") {
    result.note = cut_to(cells, options.grid, "cells a side");
  }
  return result;
}

Attribution Explainer::occlusion(const Request& request) {
  const ExplainOptions& options = request.options;
  const std::int64_t height = request.image.shape()[1], width = request.image.shape()[2];
  if (!local_occlusion_) {
    local_occlusion_ = std::make_unique<LocalOcclusion>(
        [this](Tape& tape, Var image, Var index) {
          return class_logit(record_(tape, image), index);
        },
        image_shape_, device_, kernels_);
  }
  const std::int64_t window =
      options.window > 0 ? options.window : std::max<std::int64_t>(1, std::min(height, width) / 8);
  std::int64_t stride = options.stride > 0 ? options.stride : std::max<std::int64_t>(1, window / 2);
  Windows windows = windows_of(height, width, window, stride);
  double a_window = local_occlusion_->cost(windows);
  // The target, which the plain way takes with the windows once more.
  while (windows.count() * a_window + 2 > options.budget && stride < std::max(height, width)) {
    windows = windows_of(height, width, window, ++stride);
    a_window = local_occlusion_->cost(windows);
  }
  const Tensor baseline = baselines_of(request)[0];
  Attribution result;
  result.node = target_program().node;
  Estimate estimate;
  if (a_window < 1) {
    LocalOcclusion::Result local =
        local_occlusion_->run(request.image, request.classes, baseline, windows, options.chunk);
    estimate = std::move(local.estimate);
    result.value = std::move(local.whole);
    result.forward_passes = local.forwards;
  } else {
    const Scores scores = gradients(target_program(), request.classes);
    result.value = scores(request.image);
    estimate = explain::occlusion(scores, request.image, baseline, windows, options.chunk);
    result.forward_passes = windows.count() + 2;
  }
  result.map = estimate.map;
  result.error_estimate = estimate.error;
  return result;
}

Attribution Explainer::from_feature_maps(const Request& request) {
  const ExplainOptions& options = request.options;
  Prepared& target = target_program();
  Prepared& layer =
      prepared("layer", options.layer, [](Recording& r) { return std::vector<Var>{r.at_layer()}; });
  const Tensor features = layer.program.run({{"image", request.image}})[0];
  const Scores scores = gradients(target, request.classes);
  const int most = static_cast<int>(std::min(options.budget - 2, 1e6));
  Attribution result;
  result.node = layer.node;
  result.value = scores(request.image);
  double a_map = 1;
  Estimate estimate;
  if (request.method == "score-cam") {
    estimate = score_cam(scores, request.image, features, most, options.chunk);
  } else {
    Prepared& tail = prepared("tail", options.layer, [](Recording& r) {
      r.cuts = {r.at_layer()};
      return std::vector<Var>{r.target};
    });
    estimate = ablation_cam(gradients(tail, request.classes), features, most, options.chunk);
    a_map = in_forwards(tail, 1);
  }
  result.map = estimate.map;
  if (const std::int64_t all = features.shape()[3]; estimate.points < all) {
    result.note = cut_to(estimate.points, all, "channels");
  }
  result.forward_passes = 2 + a_map * estimate.points;
  return result;
}

}  // namespace tapescope::explain
