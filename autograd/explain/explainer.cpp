#include "autograd/explain/explainer.h"

#include <algorithm>
#include <cmath>

#include "autograd/explain/cam.h"
#include "autograd/explain/deeplift.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/gradient_methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/explain/score_cam.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {

// A model on its tape, before a method's nodes are appended.
struct Explainer::Recording {
  Tape& tape;
  Var image, index, logits, target;
  std::string layer;  // as asked for
  std::string node;   // what the map is over; set by the method where it is not the image
  std::vector<Var> cuts = {};

  // The node asked for, or the last feature map.
  Var at_layer() {
    const Var var = layer.empty() ? last_feature_map(tape, target, image) : tape.find(layer);
    node = var.path();
    return var;
  }
};

// A compiled method; the tape is gone, the paths of its nodes are kept.
struct Explainer::Prepared {
  std::string node;
  std::string input;  // what the points of `gradients` are fed to: the image, or the node cut at
  Program program;
  double macs = 0;
};

struct Explainer::Request {
  std::string_view method;
  const Tensor& image;
  const Tensor& classes;
  const ExplainOptions& options;
};

namespace {

// Multiply-adds of convolutions and matrix products, which are nearly all of the work.
double macs_of(Program& program) {
  double sum = 0;
  for (const StepInfo& step : program.steps())
    sum += step.op->cost(step.operands, step.outputs).macs;
  return sum;
}

// f32 {N}: target minus the sum of each sample's map.
Tensor residual_of(const Tensor& target, const Tensor& map) {
  Tensor residual(Type{DType::f32, target.shape()});
  for (std::int64_t n = 0; n < target.elements(); ++n) {
    double sum = 0;
    for (float value : map.rows(n, n + 1).values<float>()) sum += value;
    residual.values<float>()[static_cast<std::size_t>(n)] =
        static_cast<float>(target.item(n) - sum);
  }
  return residual;
}

// `part` of `whole` added to it: the mean of `count` of them in the end.
void add_share(Tensor& whole, const Tensor& part, double share) {
  if (!whole.defined()) whole = Tensor::zeros(part.type());
  const auto from = part.values<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    whole.values<float>()[i] += static_cast<float>(share * from[i]);
  }
}

}  // namespace

Explainer::Explainer(Record record, Shape image_shape, Device device, KernelChoices kernels)
    : record_(std::move(record)),
      image_shape_(image_shape),
      device_(device),
      kernels_(std::move(kernels)) {}
Explainer::~Explainer() = default;

const std::vector<std::string_view>& Explainer::methods() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const MethodInfo& info : all_methods()) all.push_back(info.name);
    return all;
  }();
  return names;
}

Explainer::Prepared& Explainer::prepared(const std::string& key, const std::string& layer,
                                         const Append& append) {
  std::unique_ptr<Prepared>& slot = prepared_[key + " " + layer];
  if (slot) return *slot;
  // Recorded for two images: a batch of one would hide which axes are the batch.
  Tape tape(device_, Mode::evaluation, {0, kernels_});
  const Var image = tape.input("image", DType::f32, image_shape_.with_leading(2));
  const Var logits = record_(tape, image);
  const Var index = tape.input("class", DType::i64, {2});
  Recording recording{tape, image, index, logits, class_logit(logits, index), layer, image.path()};
  const std::vector<Var> outputs = append(recording);
  CompileOptions options;
  options.cuts = recording.cuts;
  options.keep_fixed = true;
  const std::string input = recording.cuts.empty() ? image.path() : recording.cuts[0].path();
  slot.reset(new Prepared{recording.node, input, tape.compile(outputs, {}, options)});
  slot->macs = macs_of(slot->program);
  return *slot;
}

std::vector<Tensor> Explainer::baselines_of(const Request& request) const {
  const std::int64_t rows = request.image.shape()[0];
  const Shape one = image_shape_.with_leading(1);
  std::vector<Tensor> all = request.options.baselines;
  if (all.empty()) all.push_back(Tensor::zeros({DType::f32, one}));
  for (Tensor& baseline : all) {
    if (baseline.shape().rank() < one.rank()) baseline = baseline.reshape(one);
    if (baseline.shape()[0] != rows) baseline = repeated_rows(baseline, rows);
  }
  return all;
}

Tensor Explainer::logits(const Tensor& image) {
  Prepared& forward =
      prepared("logits", "", [](Recording& r) { return std::vector<Var>{r.logits}; });
  return forward.program.run({{"image", image}})[0];
}

Explainer::Prepared& Explainer::target_program() {
  return prepared("target", "", [](Recording& r) { return std::vector<Var>{r.target}; });
}

// A net without convolutions and matrix products has no multiply-adds to compare.
double Explainer::in_forwards(const Prepared& program, double otherwise) {
  const double forward = target_program().macs;
  return forward > 0 ? program.macs / forward : otherwise;
}

Gradients Explainer::gradients(Prepared& prepared, const Tensor& classes) {
  return [&prepared, classes](const Tensor& points) {
    const std::int64_t times = points.shape()[0] / classes.shape()[0];
    return prepared.program.run(
        {{prepared.input, points}, {"class", repeated_rows(classes, times)}})[0];
  };
}

// --- methods that are one Program
// ---------------------------------------------------------------------
Attribution Explainer::one_run(const Request& request) {
  using Map = std::function<Var(Recording&)>;
  static const std::map<std::string_view, Map> kMaps = {
      {"saliency", [](Recording& r) { return saliency(r.tape, r.target, r.image); }},
      {"input-x-gradient",
       [](Recording& r) { return input_x_gradient(r.tape, r.target, r.image); }},
      {"contrastive-excitation-backprop",
       [](Recording& r) { return contrastive_excitation_backprop(r.tape, r.target, r.image); }},
      {"cam", [](Recording& r) { return cam(r.tape, r.target, r.at_layer()); }},
      {"grad-cam", [](Recording& r) { return grad_cam(r.tape, r.target, r.at_layer()); }},
      {"grad-cam++",
       [](Recording& r) { return grad_cam_plus_plus(r.tape, r.target, r.at_layer()); }},
      {"xgrad-cam", [](Recording& r) { return xgrad_cam(r.tape, r.target, r.at_layer()); }},
      {"hires-cam", [](Recording& r) { return hires_cam(r.tape, r.target, r.at_layer()); }},
      {"layer-cam", [](Recording& r) { return layer_cam(r.tape, r.target, r.at_layer()); }},
      {"guided-grad-cam",
       [](Recording& r) {
         const Var map = guided_grad_cam(r.tape, r.target, r.at_layer(), r.image);
         r.node = r.image.path();
         return map;
       }},
      {"eigen-cam", [](Recording& r) { return r.at_layer(); }},
      {"activation", [](Recording& r) { return r.at_layer(); }},
      {"gradient-x-activation",
       [](Recording& r) {
         const Var layer = r.at_layer();
         return mul(layer, r.tape.gradient(r.target, {layer})[0]);
       }},
  };
  const std::string& layer = find_method(request.method)->at_layer ? request.options.layer : "";
  Prepared& method = prepared(std::string(request.method), layer, [&](Recording& r) {
    if (request.method == "fullgrad") {
      const FullGradient full = full_gradient(r.tape, r.target, r.image);
      const Var residual = sub(sub(r.target, full.input_part), full.bias_part);
      return std::vector<Var>{full.map, r.target, residual};
    }
    const auto known = kMaps.find(request.method);
    if (known != kMaps.end()) return std::vector<Var>{known->second(r), r.target};
    for (const NamedComposite& named : named_composites()) {
      if (named.name != request.method) continue;
      return std::vector<Var>{r.tape.relevance(r.target, {r.image}, named.make())[0], r.target};
    }
    throw failure("the explanation method '{}' is listed but has no program", request.method);
  });
  std::vector<Tensor> out =
      method.program.run({{"image", request.image}, {"class", request.classes}});
  Attribution result;
  result.node = method.node;
  result.map = request.method == "eigen-cam" ? eigen_cam(out[0]) : std::move(out[0]);
  result.value = std::move(out[1]);
  if (out.size() > 2) result.residual = std::move(out[2]);
  result.forward_passes = in_forwards(method, 2);
  return result;
}

// One reference, or the mean over several (DeepLIFT-SHAP).
Attribution Explainer::deeplift(const Request& request) {
  Prepared& method = prepared("deeplift", "", [&](Recording& r) {
    const Var baseline = r.tape.input("baseline", DType::f32, image_shape_.with_leading(2));
    const Var at_baseline = class_logit(record_(r.tape, baseline), r.index);
    const Var map = explain::deeplift(r.tape, r.target, r.image, at_baseline, baseline);
    return std::vector<Var>{map, r.target, sub(r.target, at_baseline)};
  });
  std::vector<Tensor> baselines = baselines_of(request);
  if (request.method == "deeplift") baselines.resize(1);
  Attribution result;
  result.node = method.node;
  const double share = 1.0 / static_cast<double>(baselines.size());
  Tensor change;
  for (const Tensor& baseline : baselines) {
    std::vector<Tensor> out = method.program.run(
        {{"image", request.image}, {"class", request.classes}, {"baseline", baseline}});
    add_share(result.map, out[0], share);
    add_share(change, out[2], share);
    result.value = std::move(out[1]);
  }
  result.residual = residual_of(change, result.map);
  result.forward_passes = static_cast<double>(baselines.size()) * in_forwards(method, 3);
  return result;
}

// --- methods that take the gradient at many points
// ----------------------------------------------------------
Attribution Explainer::along_path(const Request& request) {
  const ExplainOptions& options = request.options;
  const std::string_view name = request.method;
  const bool at_layer = name != "integrated-gradients";
  const bool cut = name == "layer-integrated-gradients";
  const std::string layer = at_layer ? options.layer : "";
  Prepared& target = target_program();
  Prepared& gradient = prepared(cut        ? "tail-gradient"
                                : at_layer ? "layer-gradient"
                                           : "gradient",
                                layer, [&](Recording& r) {
                                  const Var wrt = at_layer ? r.at_layer() : r.image;
                                  if (cut) r.cuts = {wrt};
                                  return r.tape.gradient(r.target, {wrt});
                                });
  const std::vector<Tensor> baselines = baselines_of(request);
  const auto count = static_cast<double>(baselines.size());
  Prepared* values_at = nullptr;  // where the path is one of a node's values
  if (cut || name == "conductance") {
    values_at =
        &prepared("layer", layer, [](Recording& r) { return std::vector<Var>{r.at_layer()}; });
  }
  // A step of conductance is a gradient and the node's value.
  const double a_value = values_at != nullptr ? in_forwards(*values_at, 1) : 0;
  const double a_step = in_forwards(gradient, 2) + (name == "conductance" ? a_value : 0);
  // The target, and where the path begins and ends.
  const double besides = 1 + count * (1 + (cut ? 2 : 1) * a_value);
  const double affordable = (options.budget - besides) / a_step / count;
  const int steps = std::max(3, static_cast<int>(std::min<double>(options.steps, affordable)));
  // Gauss-Legendre tells its error from half as many points of their own.
  const std::vector<PathPoint> points = quadrature(
      options.rule, options.rule == PathRule::gauss_legendre ? std::max(3, steps * 2 / 3) : steps);
  Attribution result;
  result.node = gradient.node;
  result.value = gradients(target, request.classes)(request.image);
  Tensor change = result.value.clone();
  const double share = 1.0 / count;
  const Gradients slope = gradients(gradient, request.classes);
  int taken = 0;
  for (const Tensor& start : baselines) {
    add_share(change, gradients(target, request.classes)(start), -share);
    Estimate part;
    if (values_at != nullptr) {
      const Gradients values = [&](const Tensor& x) {
        return values_at->program.run({{"image", x}})[0];
      };
      part = cut ? integrated_gradients(slope, values(request.image), values(start), points,
                                        options.chunk)
                 : conductance(slope, values, request.image, start, steps);
    } else if (at_layer) {
      part = path_gradient(slope, request.image, start, points, options.chunk);
    } else {
      part = integrated_gradients(slope, request.image, start, points, options.chunk);
    }
    add_share(result.map, part.map, share);
    add_share(result.error_estimate, part.error, share);
    taken += part.points;
  }
  if (name != "internal-influence") result.residual = residual_of(change, result.map);
  result.forward_passes = a_step * taken + besides;
  return result;
}

Attribution Explainer::from_draws(const Request& request) {
  const ExplainOptions& options = request.options;
  Prepared& target = target_program();
  Prepared& gradient =
      prepared("gradient", "", [](Recording& r) { return r.tape.gradient(r.target, {r.image}); });
  const Gradients slope = gradients(gradient, request.classes);
  const std::vector<Tensor> baselines =
      request.method == "gradient-shap" ? baselines_of(request) : std::vector<Tensor>();
  const double a_draw = in_forwards(gradient, 2);
  const double besides = 1 + static_cast<double>(baselines.size());
  const int draws = std::max(
      2, static_cast<int>(std::min<double>(options.draws, (options.budget - besides) / a_draw)));
  Attribution result;
  result.node = gradient.node;
  result.value = gradients(target, request.classes)(request.image);
  Estimate estimate;
  if (request.method == "gradient-shap") {
    Tensor change = result.value.clone();
    for (const Tensor& baseline : baselines) {
      add_share(change, gradients(target, request.classes)(baseline),
                -1.0 / static_cast<double>(baselines.size()));
    }
    estimate =
        expected_gradients(slope, request.image, baselines, draws, options.seed, options.chunk);
    result.residual = residual_of(change, estimate.map);
  } else {
    const NoiseMean what = request.method == "vargrad"              ? NoiseMean::variance
                           : request.method == "smoothgrad-squared" ? NoiseMean::squared
                                                                    : NoiseMean::gradient;
    estimate =
        noise_mean(slope, request.image, relative_noise(request.image, options.noise, options.seed),
                   what, draws, options.chunk);
  }
  result.map = estimate.map;
  result.error_estimate = estimate.error;
  result.forward_passes = a_draw * estimate.points + besides;
  return result;
}

// --- methods that only look at scores
// -----------------------------------------------------------------
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
  result.forward_passes = 2 + a_map * estimate.points;
  return result;
}

Attribution Explainer::explain(std::string_view method, const Tensor& image, const Tensor& classes,
                               const ExplainOptions& options) {
  using Run = Attribution (Explainer::*)(const Request&);
  static const std::map<std::string_view, Run> kRuns = {
      {"integrated-gradients", &Explainer::along_path},
      {"layer-integrated-gradients", &Explainer::along_path},
      {"internal-influence", &Explainer::along_path},
      {"conductance", &Explainer::along_path},
      {"smoothgrad", &Explainer::from_draws},
      {"smoothgrad-squared", &Explainer::from_draws},
      {"vargrad", &Explainer::from_draws},
      {"gradient-shap", &Explainer::from_draws},
      {"occlusion", &Explainer::occlusion},
      {"feature-ablation", &Explainer::from_changed_pictures},
      {"rise", &Explainer::from_changed_pictures},
      {"shapley", &Explainer::from_changed_pictures},
      {"kernel-shap", &Explainer::from_changed_pictures},
      {"lime", &Explainer::from_changed_pictures},
      {"score-cam", &Explainer::from_feature_maps},
      {"ablation-cam", &Explainer::from_feature_maps},
      {"deeplift", &Explainer::deeplift},
      {"deeplift-shap", &Explainer::deeplift},
  };
  if (find_method(method) == nullptr) {
    throw usage_error("unknown explanation method '{}'; known are {}", method,
                      fmt::join(methods(), ", "));
  }
  const Request request{method, image, classes, options};
  const auto run = kRuns.find(method);
  Attribution result = run == kRuns.end() ? one_run(request) : (this->*run->second)(request);
  result.method = method;
  return result;
}

}  // namespace tapescope::explain
