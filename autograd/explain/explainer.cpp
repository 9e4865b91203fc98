#include "autograd/explain/explainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/explain/deeplift.h"
#include "autograd/explain/explainer_parts.h"
#include "autograd/explain/fullgrad.h"
#include "autograd/explain/gradient_methods.h"
#include "autograd/explain/relevance.h"
#include "autograd/ops/ops.h"

namespace tapescope::explain {

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
  slot->macs = slot->program.cost().macs;
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

std::string Explainer::first_non_finite(const Tensor& image, const Tensor& classes) {
  const std::vector<NamedTensor> inputs{{"image", image}, {"class", classes}};
  return target_program().program.first_non_finite(inputs);
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
  std::string key(request.method);
  if (key.starts_with("lrp-")) key += " " + key_of(request.options.lrp);
  Prepared& method = prepared(key, layer, [&](Recording& r) {
    if (request.method == "fullgrad") {
      const FullGradient full = full_gradient(r.tape, r.target, r.image);
      const Var residual = sub(sub(r.target, full.input_part), full.bias_part);
      return std::vector<Var>{full.map, r.target, residual};
    }
    const auto known = kMaps.find(request.method);
    if (known != kMaps.end()) return std::vector<Var>{known->second(r), r.target};
    const Var wrt[] = {r.image};
    if (const std::optional<Composite> composite =
            composite_for(request.method, request.options.lrp, r.tape, r.target, wrt)) {
      return std::vector<Var>{r.tape.relevance(r.target, wrt, *composite)[0], r.target};
    }
    throw usage_error("[{}] it explains a detector's boxes; this is a classifier", request.method);
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
  if (steps < options.steps) result.note = cut_to(steps, options.steps, "steps");
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
  if (draws < options.draws) result.note = cut_to(draws, options.draws, "draws");
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
  const MethodInfo* info = find_method(method);
  if (info == nullptr) {
    std::vector<std::string_view> known = methods();
    for (const MethodInfo& other : particular_methods()) known.push_back(other.name);
    throw usage_error("unknown explanation method '{}'; known are {}", method,
                      fmt::join(known, ", "));
  }
  const Request request{method, image, classes, options};
  const auto run = kRuns.find(method);
  Attribution result = run == kRuns.end() ? one_run(request) : (this->*run->second)(request);
  result.method = method;
  return result;
}

}  // namespace tapescope::explain
