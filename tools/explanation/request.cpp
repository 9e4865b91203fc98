#include "tools/explanation/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "autograd/ops/ops.h"
#include "tools/files/text.h"

namespace tapescope {

std::vector<std::string> ExplanationRequest::chosen_methods() const {
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
std::string ExplanationRequest::baseline_names(std::string_view method) const {
  const explain::Method* known = explain::find_method(method);
  if (known == nullptr || !known->has(explain::kTakesBaselines)) return "";
  if (!baseline.empty()) {
    return known->has(explain::kOneBaseline) ? comma_separated(baseline)[0] : baseline;
  }
  return known->has(explain::kSeveralBaselines) ? "black,white,blur,noise" : "zero";
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
                    listed(classes));
}

NodeIndex parsed_node(const std::string& option, const std::string& text) {
  const std::size_t open = text.rfind('[');
  const std::string digits = open != std::string::npos && text.ends_with(']')
                                 ? text.substr(open + 1, text.size() - open - 2)
                                 : "";
  if (digits.empty() || digits.size() > 9 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    throw usage_error("{} '{}' is not of the form NODE[INDEX], for instance fc/linear[2]", option,
                      text);
  }
  return {text.substr(0, open), std::stoll(digits)};
}

ClassTarget target_of(const ExplanationRequest& options, const std::vector<std::string>& classes,
                      const Tensor& logits) {
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
                                 : class_index("--target", options.target, classes);
  std::string name = classes[static_cast<std::size_t>(index)];
  if (!options.against.empty()) {
    const std::int64_t other = class_index("--against", options.against, classes);
    if (other == index) {
      throw usage_error("--against '{}' is the class that is explained; name another", name);
    }
    name += " against " + classes[static_cast<std::size_t>(other)];
  }
  return {index, options.log_probability ? "log " + name : name};
}

namespace {

// The net is recorded on `tape` and its node of this name is returned: by the place it has on a
// tape of its own, since a second recording on one tape (of a baseline) has other names there.
Var named_node(const explain::Explainer::Record& record, Tape& tape, Var image,
               const std::string& name) {
  Tape alone(tape.device(), Mode::evaluation);
  const Var input = alone.input("image", image.dtype(), image.shape());
  record(alone, input);
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
  record(tape, image);
  for (const Node* node : tape.nodes().subspan(before)) {
    if (!node->op->is_leaf() && place-- == 0) return node->out(wanted.output);
  }
  throw failure("[--unit] '{}' was not recorded again", name);
}

}  // namespace

explain::Explainer::Record recorder_of(const ClassLogits& net, const ExplanationRequest& options) {
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
      options.against.empty() ? -1 : class_index("--against", options.against, net.classes);
  const std::string node = options.unit.empty() ? "" : parsed_node("--unit", options.unit).node;
  return
      [record = net.record, against, node, log = options.log_probability](Tape& tape, Var image) {
        if (!node.empty()) return flatten(named_node(record, tape, image, node));
        const Var logits = record(tape, image);
        if (log) return log_softmax(logits);
        return against < 0 ? logits : sub(logits, slice(logits, 1, against, against + 1));
      };
}

explain::Explainer explainer_of(const ClassLogits& net, const Backend& backend,
                                const ExplanationRequest& options) {
  return explain::Explainer(recorder_of(net, options), net.preprocess.image, backend);
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

}  // namespace tapescope
