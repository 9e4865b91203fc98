// Methods that only look at scores of changed pictures, or of changed feature maps.
#include <algorithm>

#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/score_cam.h"
#include "autograd/explain/target.h"

namespace tapescope::explain {
namespace {

// What is given, or a grid of no more features than the budget pays for: `a_feature` passes each.
struct Features {
  Segments segments;
  std::string note;  // what the budget cut
};
Features features_of(const Request& request, double a_feature) {
  const ExplainOptions& options = request.options;
  if (options.segments.count > 0) return {options.segments, ""};
  int cells = std::max(1, options.grid);
  while (cells > 1 && a_feature * (cells * cells + 1) + 2 > options.budget) --cells;
  return {Segments::grid(request.image.shape()[1], request.image.shape()[2], cells, cells),
          cells < options.grid ? cut_to(cells, options.grid, "cells a side") : ""};
}

Attribution answer(const Request& request, const Estimate& estimate, const std::string& note) {
  Attribution result;
  result.node = request.programs.target().node;
  result.value = request.scores()(request.image);
  result.map = estimate.map;
  result.error_estimate = estimate.error;
  result.note = note;
  result.forward_passes = estimate.points + 1;  // the target
  return result;
}

// Of a method that promises to add up to the change from this baseline.
Attribution answer(const Request& request, const Estimate& estimate, const std::string& note,
                   const Tensor& baseline) {
  Attribution result = answer(request, estimate, note);
  Tensor change = result.value.clone();
  add_share(change, request.scores()(baseline), -1);
  result.residual = residual_of(change, result.map);
  result.forward_passes += 1;
  return result;
}

// Feature maps {N,h,w,K}, and how many of their channels may be looked at.
struct FeatureMaps {
  std::string node;
  Tensor values;
  int most;
};
FeatureMaps feature_maps(const Request& request) {
  Prepared& layer = request.programs.at_layer(request.layer());
  return {layer.node, layer.program.run({{"image", request.image}})[0],
          static_cast<int>(std::min(request.options.budget - 2, 1e6))};
}

// `a_channel` forward passes each.
Attribution from_channels(const Request& request, const FeatureMaps& features,
                          const Estimate& estimate, double a_channel) {
  Attribution result = answer(request, estimate, "");
  result.node = features.node;
  result.error_estimate = {};
  if (const std::int64_t all = features.values.shape()[3]; estimate.points < all) {
    result.note = cut_to(estimate.points, all, "channels");
  }
  result.forward_passes = 2 + a_channel * estimate.points;
  return result;
}

}  // namespace

Attribution runs::feature_ablation(const Request& request) {
  const Features features = features_of(request, 1);
  return answer(request,
                explain::feature_ablation(request.scores(), request.image, request.baselines()[0],
                                          features.segments, request.options.chunk),
                features.note);
}

Attribution runs::rise(const Request& request) {
  constexpr int kCells = 7;  // the paper's
  const ExplainOptions& options = request.options;
  const int masks = std::max(2, static_cast<int>(options.budget) - 1);
  return answer(request,
                explain::rise(request.scores(), request.image, request.baselines()[0], kCells,
                              masks, options.seed, options.chunk),
                "");
}

// A permutation and its reverse are two passes a feature.
Attribution runs::shapley(const Request& request) {
  const ExplainOptions& options = request.options;
  const Features features = features_of(request, 2);
  const Tensor baseline = request.baselines()[0];
  return answer(request,
                shapley_sampling(request.scores(), request.image, baseline, features.segments,
                                 options.budget - 2, options.seed, options.chunk),
                features.note, baseline);
}

// A fit is well determined by twice as many pairs of coalitions as features.
Attribution runs::kernel_shap(const Request& request) {
  const ExplainOptions& options = request.options;
  const Features features = features_of(request, 4);
  const Tensor baseline = request.baselines()[0];
  return answer(request,
                explain::kernel_shap(request.scores(), request.image, baseline, features.segments,
                                     options.budget - 2, options.seed, options.chunk),
                features.note, baseline);
}

Attribution runs::lime(const Request& request) {
  const Features features = features_of(request, 1);
  LimeOptions surrogate;
  surrogate.forwards = request.options.budget - 1;
  surrogate.seed = request.options.seed;
  return answer(request,
                explain::lime(request.scores(), request.image, request.baselines()[0],
                              features.segments, surrogate, request.options.chunk),
                features.note);
}

Attribution runs::occlusion(const Request& request) {
  const ExplainOptions& options = request.options;
  Programs& programs = request.programs;
  const std::int64_t height = request.image.shape()[1], width = request.image.shape()[2];
  std::unique_ptr<LocalOcclusion>& local = programs.local_occlusion;
  if (!local) {
    local = std::make_unique<LocalOcclusion>(
        [&](Tape& tape, Var image, Var index) {
          return class_logit(programs.record(tape, image), index);
        },
        programs.image_shape, programs.backend.device, programs.backend.choices,  // in f32
        CompileOptions{.arena = programs.arena,
                       .keep_fixed = true,
                       .without = {"fold_batch_norm", "fuse_convolution"}});
  }
  const std::int64_t window =
      options.window > 0 ? options.window : std::max<std::int64_t>(1, std::min(height, width) / 8);
  std::int64_t stride = options.stride > 0 ? options.stride : std::max<std::int64_t>(1, window / 2);
  Windows windows = windows_of(height, width, window, stride);
  double a_window = local->cost(windows);
  // The target, which the plain way takes with the windows once more.
  while (windows.count() * a_window + 2 > options.budget && stride < std::max(height, width)) {
    windows = windows_of(height, width, window, ++stride);
    a_window = local->cost(windows);
  }
  const Tensor baseline = request.baselines()[0];
  Attribution result;
  result.node = programs.target().node;
  if (a_window < 1) {
    LocalOcclusion::Result patches =
        local->run(request.image, request.classes, baseline, windows, options.chunk);
    result.map = patches.estimate.map;
    result.error_estimate = patches.estimate.error;
    result.value = std::move(patches.whole);
    result.forward_passes = patches.forwards;
    return result;
  }
  result = answer(
      request,
      explain::occlusion(request.scores(), request.image, baseline, windows, options.chunk), "");
  result.forward_passes = windows.count() + 2;
  return result;
}

Attribution runs::score_cam(const Request& request) {
  const FeatureMaps features = feature_maps(request);
  return from_channels(request, features,
                       explain::score_cam(request.scores(), request.image, features.values,
                                          features.most, request.options.chunk),
                       1);
}

Attribution runs::ablation_cam(const Request& request) {
  const FeatureMaps features = feature_maps(request);
  Prepared& tail = request.programs.prepared("tail", request.layer(), [](Recording& r) {
    r.cuts = {r.at_layer()};
    return std::vector<Var>{r.target};
  });
  return from_channels(request, features,
                       explain::ablation_cam(request.at_points(tail), features.values,
                                             features.most, request.options.chunk),
                       request.programs.in_forwards(tail, 1));
}

}  // namespace tapescope::explain
