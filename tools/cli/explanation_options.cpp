#include "tools/cli/explanation_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "autograd/ops/ops.h"
#include "tools/cli/baselines.h"
#include "tools/cli/other_explanations.h"
#include "tools/explanation/pixel_domain.h"

namespace tapescope::cli {

void ExplanationOptions::add_to(CLI::App& app) {
  app.add_option(
         "--method", methods,
         "names from --list, several with commas, or all that the model admits; odam and d-rise "
         "are a detector's")
      ->capture_default_str()
      ->each([this](const std::string&) { method_given = true; });
  app.add_option("--target", target, "predicted, the name of a class, or '#7': class number 7")
      ->capture_default_str();
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
  app.add_option("--composite", settings.lrp.rules,
                 "a rule of layer-wise relevance propagation for each name, as method "
                 "lrp-composite: NODES=RULE, several with commas, the first that matches is taken "
                 "(conv1*=z-box,layer4*=gamma:0.25,*=epsilon:1e-6); rules are epsilon[:E], "
                 "gamma[:G], z-plus, alpha-beta:A:B, z-box[:LOW:HIGH], flat, w-square");
  app.add_option("--epsilon", settings.lrp.epsilon, "of the lrp methods: the stabiliser")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--gamma", settings.lrp.gamma, "of lrp-epsilon-gamma-box and lrp-composite")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--low", low,
                 "of lrp's z-box: the least a pixel may be, 0 for black, 1 for white, or picture, "
                 "each picture's own least")
      ->capture_default_str();
  app.add_option("--high", high, "of lrp's z-box: the most, likewise")->capture_default_str();
  app.add_option("--seed", settings.seed, "of what is drawn")->capture_default_str();
  app.add_option("--budget", settings.budget, "most forward passes a map")
      ->capture_default_str()
      ->check(CLI::Range(10.0, 1e9));
}

std::vector<std::string> ExplanationOptions::chosen_methods() const {
  constexpr const char* kByName = "lrp-composite";
  const bool named = !settings.lrp.rules.empty();
  if (named && !method_given) return {kByName};
  std::vector<std::string> chosen;
  if (methods == "all") {
    const auto& all = explain::Explainer::methods();
    chosen.assign(all.begin(), all.end());
  } else {
    chosen = comma_separated(methods);
  }
  if (named && std::find(chosen.begin(), chosen.end(), kByName) == chosen.end()) {
    chosen.emplace_back(kByName);
  }
  return chosen;
}

// Methods whose answer is a mean over references get several unless told otherwise.
std::string ExplanationOptions::baseline_names(std::string_view method) const {
  const explain::MethodInfo* info = explain::find_method(method);
  const explain::Baselines takes = info != nullptr ? info->baselines : explain::Baselines::none;
  if (takes == explain::Baselines::none) return "";
  if (!baseline.empty()) {
    return takes == explain::Baselines::first ? comma_separated(baseline)[0] : baseline;
  }
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

double number(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw usage_error("{} '{}' is neither a number (0 is black, 1 is white) nor picture", option,
                      text);
  }
  return value;
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
  std::string names = options_.baseline_names(method);
  if (names.empty()) names = "zero";
  const auto [made, fresh] = made_.try_emplace(names);
  if (fresh) made->second = baselines(names, picture_, info_, result.seed);
  result.baselines = made->second;
  result.segments = segments_;
  result.lrp.low = bound("--low", options_.low);
  result.lrp.high = bound("--high", options_.high);
  return result;
}

// Nothing where it is each picture's own.
explain::Bound PictureSettings::bound(const std::string& option, const std::string& text) const {
  if (text == "picture") return {};
  const double value = number(option, text);
  if (options_.low != "picture" && options_.high != "picture" &&
      !(number("--low", options_.low) < number("--high", options_.high))) {
    throw usage_error("--low {} is not below --high {}", options_.low, options_.high);
  }
  return pixel_value(value, info_);
}

std::int64_t class_index(const std::string& option, const std::string& name,
                         const std::vector<std::string>& classes) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found != classes.end()) return found - classes.begin();
  std::size_t number = 0;
  const char* end = name.data() + name.size();
  if (name.size() > 1 && name[0] == '#') {
    const auto [stop, error] = std::from_chars(name.data() + 1, end, number);
    if (error == std::errc() && stop == end) {
      if (number < classes.size()) return static_cast<std::int64_t>(number);
      throw usage_error("{} '{}': this model has {} classes, counted from 0", option, name,
                        classes.size());
    }
  }
  throw usage_error("{} '{}' is no class of this model; they are {}", option, name,
                    fmt::join(classes, ", "));
}

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
                                 : class_index("--target", options.target, info.classes);
  std::string name = info.classes[static_cast<std::size_t>(index)];
  if (!options.against.empty()) {
    const std::int64_t other = class_index("--against", options.against, info.classes);
    if (other == index) {
      throw usage_error("--against '{}' is the class that is explained; name another", name);
    }
    name += " against " + info.classes[static_cast<std::size_t>(other)];
  }
  return {index, options.log_probability ? "log " + name : name};
}

namespace {

// The net is recorded on `tape` and its node of this name is returned: by the place it has on a
// tape of its own, since a second recording on one tape (of a baseline) has other names there.
Var named_node(Classifier& model, Tape& tape, Var image, const std::string& name) {
  Tape alone(tape.device(), Mode::evaluation);
  const Var input = alone.input("image", image.dtype(), image.shape());
  model({{"image", input}});
  const Var wanted = alone.find(name);
  if (wanted == input) return image;
  if (wanted.node->op->is_leaf()) {
    throw usage_error("--unit '{}' is a parameter, the same for every picture", name);
  }
  // Leaves are shared between recordings and do not count.
  std::size_t place = 0;
  for (const Node* node : alone.nodes()) {
    if (node == wanted.node) break;
    place += node->op->is_leaf() ? 0 : 1;
  }
  const std::uint32_t before = tape.mark();
  model({{"image", image}});
  for (const Node* node : tape.nodes().subspan(before)) {
    if (!node->op->is_leaf() && place-- == 0) return node->out(wanted.output);
  }
  throw failure("[--unit] '{}' was not recorded again", name);
}

}  // namespace

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
      options.against.empty() ? -1 : class_index("--against", options.against, loaded.info.classes);
  const std::string node = options.unit.empty() ? "" : parsed_node("--unit", options.unit).node;
  return [model = loaded.model.get(), against, node, log = options.log_probability](Tape& tape,
                                                                                    Var image) {
    if (!node.empty()) return flatten(named_node(*model, tape, image, node));
    const Var logits = (*model)({{"image", image}}).at("logits");
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

std::string forward_passes(double count) {
  const std::string number = fmt::format("{:.3g}", count);
  return fmt::format("{} forward pass{}", number, number == "1" ? "" : "es");
}

std::string error_text(const explain::Attribution& attribution) {
  if (!attribution.error_estimate.defined()) return "";
  const double error = attribution.error_estimate.item();
  if (std::isnan(error)) return ", its error unknown";
  return error == 0 ? "" : fmt::format(", off by {:.2g} at most", error);
}

std::string not_finite(explain::Explainer* explainer, const explain::Attribution& attribution,
                       const Tensor& input, std::int64_t index, const std::string& target) {
  const double value = attribution.value.item();
  if (!std::isfinite(value)) {
    std::string node;
    if (explainer != nullptr) {
      node = explainer->first_non_finite(input, Tensor::from<std::int64_t>({1}, {index}));
    }
    return fmt::format(
        "the score of '{}' is {}{}; no map explains it", target, value,
        node.empty() ? "" : ": the first value that is not finite is that of '" + node + "'");
  }
  const auto values = attribution.map.values<float>();
  const auto bad =
      std::count_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == 0) return "";
  return fmt::format("{} of the {} values of its map are not finite; it explains nothing", bad,
                     values.size());
}

}  // namespace tapescope::cli
