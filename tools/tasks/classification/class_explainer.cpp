#include "tools/tasks/classification/class_explainer.h"

#include <nlohmann/json.hpp>

#include "tools/explanation/baselines.h"
#include "tools/monitoring/progress_line.h"
#include "tools/quality/controls.h"

namespace tapescope::tasks {
namespace {

// What is scored of a method's map: at the picture's size, signs as the method means them.
Map scored_map(std::string_view method, const Tensor& map, const Tensor& picture) {
  const quality::Signs signs = explain::find_method(method)->has(explain::kSensitivity)
                                   ? quality::Signs::dropped
                                   : quality::Signs::kept;
  return quality::at_picture_size(map, static_cast<int>(picture.shape()[1]),
                                  static_cast<int>(picture.shape()[2]), signs);
}

}  // namespace

explain::Explainer::Record logits_of(const Classifier& model) {
  return [&model](Tape&, Var image) { return model({{"image", image}}).at("logits"); };
}

ClassExplainer::ClassExplainer(const Classifier& model, ClassLogits net,
                               const ExplainOptions& options)
    : model_(model),
      net_(std::move(net)),
      request_(options.request),
      backend_(options.backend),
      explainer_(explainer_for(model)) {
  panel_options_.seed = request_.settings.seed;
  panel_options_.chunk = request_.settings.chunk;
  if (!options.score) return;
  random_model_ = quality::randomised(model, request_.settings.seed);
  random_explainer_ =
      std::unique_ptr<explain::Explainer>(new explain::Explainer(explainer_for(*random_model_)));
  if (!request_.unit.empty()) {
    throw usage_error("scores are of a class's probability, which --unit '{}' has not",
                      request_.unit);
  }
}

ClassLogits ClassExplainer::scores_of(const Classifier& model) const {
  ClassLogits scores = net_;
  scores.record = logits_of(model);
  return scores;
}

explain::Explainer ClassExplainer::explainer_for(const Classifier& model) const {
  move_to(backend_.device, model.parameters());
  return explainer_of(scores_of(model), backend_, request_);
}

void ClassExplainer::look_at(const std::string& path, Choose) {
  Picture picture = read_picture(path, net_.preprocess);
  const ClassTarget target = target_of(request_, net_.classes, explainer_.logits(picture.input));
  look_at(std::move(picture), target.index);
  targets_[0].name = target.name;
}

void ClassExplainer::look_at(Picture picture, std::int64_t index) {
  picture_ = std::move(picture);
  const bool of_class = static_cast<std::size_t>(index) < net_.classes.size();
  targets_ = {{of_class ? net_.classes[static_cast<std::size_t>(index)] : "", "", ""}};
  classes_ = Tensor::from<std::int64_t>({1}, {index});
  subject_ = {};
  if (!random_explainer_) return;
  subject_.x = picture_.input;
  subject_.probability = [this, index](const Tensor& pictures) {
    const Tensor logits = explainer_.logits(pictures);
    const std::int64_t rows = logits.shape()[0];
    Tensor result(Type{DType::f32, {rows}});
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::vector<double> p = net_.probabilities(logits.rows(r, r + 1));
      result.values<float>()[static_cast<std::size_t>(r)] =
          static_cast<float>(p[static_cast<std::size_t>(index)]);
    }
    return result;
  };
  subject_.baseline = baselines("black", picture_, net_.preprocess, panel_options_.seed)[0];
  subject_.blurred = baselines("blur", picture_, net_.preprocess, panel_options_.seed)[0];
}

std::vector<double> ClassExplainer::probabilities() {
  return net_.probabilities(explainer_.logits(picture_.input));
}

// Brought through the model's crops and sizes as its picture is: values above three quarters of 255
// are the cause, so that grey can mark what is near it.
quality::Mask ClassExplainer::read_mask(const std::string& path) const {
  const Image mask = read_image(path, picture_.image.channels);
  if (mask.height != picture_.image.height || mask.width != picture_.image.width) {
    throw usage_error(
        "mask '{}' is {}x{}, its picture '{}' {}x{}; masks must have the picture's size", path,
        mask.height, mask.width, picture_.path, picture_.image.height, picture_.image.width);
  }
  // Without the colours' normalisation the pipeline gives 0..1.
  std::vector<Transform> geometry;
  for (const Transform& t : net_.preprocess.pipeline.transforms()) {
    if (!std::holds_alternative<Normalize>(t)) geometry.push_back(t);
  }
  Tensor values(picture_.input.type());
  Pipeline(geometry).apply(view_of(mask), {}, values.values<float>().data());
  const Shape& s = values.shape();
  constexpr double kCause = 0.75;
  quality::Mask result{static_cast<int>(s[1]), static_cast<int>(s[2]), {}};
  for (std::int64_t p = 0; p < s[1] * s[2]; ++p) {
    result.cause.push_back(values.item(p * s[3]) > kCause);
  }
  if (result.share() == 0) {
    throw usage_error("mask '{}' has no pixel above three quarters of white where the model looks",
                      path);
  }
  return result;
}

std::vector<explain::Attribution> ClassExplainer::explain(const std::string& method,
                                                          const explain::ExplainOptions& settings) {
  return {explainer_.explain(method, picture_.input, classes_, settings)};
}

std::string ClassExplainer::not_finite(std::size_t target, const explain::Attribution& map) {
  return tapescope::not_finite(&explainer_, map, picture_.input, classes_.values<std::int64_t>()[0],
                               targets_[target].name);
}

std::vector<std::optional<quality::Panel>> ClassExplainer::score(
    const std::string& method, std::span<const explain::Attribution> maps,
    const explain::ExplainOptions& settings) {
  if (maps[0].map.shape().rank() != 4) return {std::nullopt};
  const auto judged_map = [&](const Tensor& map) { return scored_map(method, map, subject_.x); };
  quality::Judged judged;
  judged.map = judged_map(maps[0].map);
  judged.map_of = [&](const Tensor& x) {
    return judged_map(explainer_.explain(method, x, classes_, settings).map);
  };
  judged.of_random_model =
      judged_map(random_explainer_->explain(method, subject_.x, classes_, settings).map);
  return {quality::score(subject_, judged, panel_options_)};
}

std::vector<quality::PanelRow> ClassExplainer::score_controls(std::size_t) {
  std::vector<quality::PanelRow> rows;
  const std::vector<quality::Control> all = quality::controls(subject_.x, panel_options_.seed);
  for (std::size_t i = 0; i < all.size(); ++i) {
    quality::Judged judged;
    judged.map = all[i].map;
    judged.map_of = [&](const Tensor& x) {
      return quality::controls(x, panel_options_.seed)[i].map;
    };
    judged.of_random_model = all[i].map;  // whatever the parameters are
    rows.push_back({all[i].name, quality::score(subject_, judged, panel_options_)});
  }
  return rows;
}

LedgerTable ClassExplainer::ledger(const std::string& method,
                                   const explain::ExplainOptions& settings) {
  return ledger_of(method, recorder_of(net_, request_), backend_, picture_.input, classes_,
                   settings.lrp);
}

// --- layers random one by one -----------------------------------------------------------------

void ClassExplainer::keep_for_cascade(const explain::Attribution& map,
                                      const explain::ExplainOptions& settings) {
  cascade_items_.push_back({map.method, picture_.input, classes_, settings});
  cascade_own_.push_back(scored_map(map.method, map.map, picture_.input));
  if (std::find(cascade_methods_.begin(), cascade_methods_.end(), map.method) ==
      cascade_methods_.end()) {
    cascade_methods_.push_back(map.method);
  }
}

void ClassExplainer::run_cascade() {
  monitoring::ProgressBar progress("random layers",
                                   std::ssize(quality::layers_from_output(model_)));
  std::int64_t done = 0;
  cascade_steps_ = quality::cascade(
      model_, request_.settings.seed, cascade_own_, [&](std::unique_ptr<Classifier> model) {
        explain::Explainer explainer = explainer_for(*model);
        std::vector<Map> maps;
        for (const CascadeItem& item : cascade_items_) {
          const explain::Attribution again =
              explainer.explain(item.method, item.picture, item.classes, item.settings);
          maps.push_back(scored_map(item.method, again.map, item.picture));
        }
        progress.done(++done);
        return maps;
      });
}

std::vector<double> ClassExplainer::cascade_means(const quality::CascadeStep& step) const {
  std::vector<double> result;
  for (const std::string& method : cascade_methods_) {
    double sum = 0;
    int count = 0;
    for (std::size_t i = 0; i < cascade_items_.size(); ++i) {
      // A map of one value everywhere has no ranks.
      if (cascade_items_[i].method != method || std::isnan(step.similarity[i])) continue;
      sum += step.similarity[i];
      ++count;
    }
    result.push_back(count > 0 ? sum / count : std::nan(""));
  }
  return result;
}

nlohmann::ordered_json ClassExplainer::cascade_json() const {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const quality::CascadeStep& step : cascade_steps_) {
    nlohmann::ordered_json methods;
    const std::vector<double> mean = cascade_means(step);
    for (std::size_t m = 0; m < cascade_methods_.size(); ++m) {
      methods[cascade_methods_[m]] =
          std::isnan(mean[m]) ? nlohmann::ordered_json() : nlohmann::ordered_json(mean[m]);
    }
    steps.push_back({{"layer", step.layer}, {"methods", methods}});
  }
  return steps;
}

std::string ClassExplainer::cascade_text() const {
  std::size_t widest = 5;
  for (const quality::CascadeStep& step : cascade_steps_)
    widest = std::max(widest, step.layer.size());
  std::string text = fmt::format("{:<{}}", "layer", widest);
  for (const std::string& method : cascade_methods_) text += "  " + method;
  text += "\n";
  for (const quality::CascadeStep& step : cascade_steps_) {
    text += fmt::format("{:<{}}", step.layer, widest);
    const std::vector<double> mean = cascade_means(step);
    for (std::size_t m = 0; m < cascade_methods_.size(); ++m) {
      const std::string number = std::isnan(mean[m]) ? "-" : fmt::format("{:.3f}", mean[m]);
      text += fmt::format("  {:>{}}", number, cascade_methods_[m].size());
    }
    text += "\n";
  }
  return text;
}

}  // namespace tapescope::tasks
