#include "tools/cli/explanation_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "autograd/ops/ops.h"
#include "tools/cli/baselines.h"
#include "tools/cli/other_explanations.h"

namespace tapescope::cli {

void ExplanationOptions::add_to(CLI::App& app) {
  app.add_option("--method", methods,
                 "names from --list, several with commas, or all that the model admits")
      ->capture_default_str();
  app.add_option("--target", target, "predicted, or the name of a class")->capture_default_str();
  app.add_option("--against", against, "explain the target's score minus this class's");
  app.add_flag("--log-probability", log_probability,
               "explain the logarithm of the target's probability instead of its score");
  app.add_option("--unit", unit, "explain a unit of any node, NODE[INDEX], instead of a class");
  app.add_option("--layer", settings.layer,
                 "node that the CAM and layer methods look at; default: the last feature map");
  app.add_option("--baseline", baseline,
                 "what paths and references start from: black, white, noise, mean, blur or zero, "
                 "several with commas; default: zero, of the shap methods black,white,blur,noise");
  app.add_option("--quadrature", quadrature, "of integrated gradients")
      ->capture_default_str()
      ->check(CLI::IsMember({"midpoint", "trapezoid", "gauss-legendre"}));
  app.add_option("--steps", settings.steps, "points on a path")
      ->capture_default_str()
      ->check(CLI::Range(3, 1000000));
  app.add_option("--draws", settings.draws, "samples of the methods that draw")
      ->capture_default_str()
      ->check(CLI::Range(2, 1000000));
  app.add_option("--window", settings.window,
                 "occlusion's window in pixels; 0: an eighth of the shorter side")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--stride", settings.stride, "occlusion's step in pixels; 0: half a window")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--grid", settings.grid,
                 "features of ablation, shapley, kernel-shap and lime: grid x grid")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--segments", segments,
                 "features of ablation, shapley, kernel-shap and lime: grid, slic (patches of like "
                 "colour, about as many), or a picture of the model's input size, each grey value "
                 "a feature")
      ->capture_default_str();
  app.add_option("--noise", settings.noise, "SmoothGrad's, as a share of the picture's range")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 10.0));
  app.add_option("--seed", settings.seed, "of what is drawn")->capture_default_str();
  app.add_option("--budget", settings.budget, "most forward passes a map")
      ->capture_default_str()
      ->check(CLI::Range(10.0, 1e9));
}

std::vector<std::string> ExplanationOptions::chosen_methods() const {
  if (methods != "all") return comma_separated(methods);
  const auto& all = explain::Explainer::methods();
  return {all.begin(), all.end()};
}

// Methods whose answer is a mean over references get several unless told otherwise.
std::string ExplanationOptions::baseline_names(std::string_view method) const {
  if (!baseline.empty()) return baseline;
  const bool several = method == "gradient-shap" || method == "deeplift-shap";
  return several ? "black,white,blur,noise" : "zero";
}

namespace {

explain::Segments segments_of(const ExplanationOptions& options, const Picture& picture) {
  const std::int64_t height = picture.input.shape()[1], width = picture.input.shape()[2];
  if (options.segments == "grid") return {};
  if (options.segments == "slic") {
    return explain::Segments::slic(picture.input, options.settings.grid * options.settings.grid);
  }
  const Image groups = read_image(options.segments, 1);
  if (groups.height != height || groups.width != width) {
    throw usage_error("--segments '{}' is {}x{}, this model's input {}x{}; they must be equal",
                      options.segments, groups.height, groups.width, height, width);
  }
  return explain::Segments::from_ids(height, width, {groups.pixels.begin(), groups.pixels.end()});
}

}  // namespace

PictureSettings::PictureSettings(const ExplanationOptions& options, const ModelInfo& info,
                                 const Picture& picture)
    : options_(options), info_(info), picture_(picture), segments_(segments_of(options, picture)) {}

explain::ExplainOptions PictureSettings::of(std::string_view method) {
  explain::ExplainOptions result = options_.settings;
  result.rule = options_.quadrature == "trapezoid"        ? explain::PathRule::trapezoid
                : options_.quadrature == "gauss-legendre" ? explain::PathRule::gauss_legendre
                                                          : explain::PathRule::midpoint;
  const std::string names = options_.baseline_names(method);
  const auto [made, fresh] = made_.try_emplace(names);
  if (fresh) made->second = baselines(names, picture_, info_, result.seed);
  result.baselines = made->second;
  result.segments = segments_;
  return result;
}

namespace {

std::int64_t class_index(const std::string& option, const std::string& name,
                         const ModelInfo& info) {
  const auto found = std::find(info.classes.begin(), info.classes.end(), name);
  if (found == info.classes.end()) {
    throw usage_error("{} '{}' is no class of this model; they are {}", option, name,
                      fmt::join(info.classes, ", "));
  }
  return found - info.classes.begin();
}

}  // namespace

Target target_of(const ExplanationOptions& options, const ModelInfo& info, const Tensor& logits) {
  if (!options.unit.empty()) {
    const NodeIndex unit = parsed_node("--unit", options.unit);
    if (unit.index >= logits.elements()) {
      throw usage_error("--unit '{}': the node has {} units, counted from 0", options.unit,
                        logits.elements());
    }
    return {unit.index, options.unit};
  }
  const auto scores = logits.values<float>();
  const std::int64_t index = options.target == "predicted"
                                 ? std::max_element(scores.begin(), scores.end()) - scores.begin()
                                 : class_index("--target", options.target, info);
  std::string name = info.classes[static_cast<std::size_t>(index)];
  if (!options.against.empty()) {
    if (name == options.against) {
      throw usage_error("--against '{}' is the class that is explained; name another", name);
    }
    name += " against " + options.against;
  }
  return {index, options.log_probability ? "log " + name : name};
}

explain::Explainer::Record recorder_of(const LoadedModel& loaded,
                                       const ExplanationOptions& options) {
  if (!options.unit.empty() &&
      (!options.against.empty() || options.log_probability || options.target != "predicted")) {
    throw usage_error(
        "--unit explains a node, not a class; leave --target, --against and "
        "--log-probability away");
  }
  if (!options.against.empty() && options.log_probability) {
    throw usage_error(
        "--against is a difference of scores, the same with --log-probability; "
        "leave one away");
  }
  const std::int64_t against =
      options.against.empty() ? -1 : class_index("--against", options.against, loaded.info);
  const std::string node = options.unit.empty() ? "" : parsed_node("--unit", options.unit).node;
  return [model = loaded.model.get(), against, node, log = options.log_probability](Tape& tape,
                                                                                    Var image) {
    const Var logits = (*model)(tape, {{"image", image}}).at("logits");
    if (!node.empty()) return flatten(tape.find(node));
    if (log) return log_softmax(logits);
    return against < 0 ? logits : sub(logits, slice(logits, 1, against, against + 1));
  };
}

explain::Explainer explainer_of(const LoadedModel& loaded, const Backend& backend,
                                const ExplanationOptions& options) {
  const ModelConfig& config = loaded.info.config;
  const explain::Explainer::Record record = recorder_of(loaded, options);
  move_to(backend.device, loaded.model->parameters());
  return explain::Explainer(record, {config.image_size, config.image_size, config.channels},
                            backend.device, backend.choices);
}

}  // namespace tapescope::cli
