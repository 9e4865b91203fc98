#include "tools/tasks/multilabel/multilabel.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/deviation.h"
#include "tools/training/trainer.h"

namespace tapescope::tasks {

using Json = nlohmann::ordered_json;

LabelledData MultiLabelRun::open(const DataRequest& request) const {
  DataOptions options = data_options(request);
  options.classes.clear();  // they are sets of labels here
  return open_labelled(request.folder, options, classes(), asked().allow_outside);
}

RunData MultiLabelRun::data(const DataRequest& request) const {
  const LabelledData labelled = open(request);
  const std::shared_ptr<const Dataset> all = labelled.splits.split(request.split);
  const auto data = std::make_shared<Subset>(all, spread(all->size(), request.limit));
  return {
      std::make_shared<LabelSource>(data, info().pipeline, labelled.sets, info().config.classes),
      std::make_shared<LabelTask>(info().config), [data](std::int64_t i) { return data->name(i); },
      [data](std::int64_t i) { return copy_of(data->image(i)); },
      with_share(labelled.splits.notices, data->size(), all->size(), request.split)};
}

Finder MultiLabelRun::finder(const Finding&, const Backend&) const {
  throw usage_error(
      "'{}' answers with labels, several at once; detect needs a detector's run or a "
      "classifier's",
      asked().run);
}

Answer MultiLabelRun::evaluate(const EvaluationRequest& request, const Backend& backend) const {
  if (request.wrong || request.localise) {
    throw usage_error("--wrong and --localise are of a run with one class per picture");
  }
  const RunData images = data(request.data);
  for (const std::string& notice : images.notices) fmt::print(stderr, "{}\n", printable(notice));
  tell_deviation(model(), *images.task, images.samples, backend);
  const std::unique_ptr<Metrics> metrics = tapescope::evaluate(
      model(), *images.task, images.samples, request.batch_size, request.loader_threads, backend);
  const auto& m = dynamic_cast<const LabelMetrics&>(*metrics);
  std::size_t width = 5;
  for (const std::string& name : classes()) width = std::max(width, characters(printable(name)));
  std::string text = fmt::format(
      "mAP {:.2f} %   loss {:.4f}   {} images\n\n{}      AP  precision  recall     F1  support\n",
      100 * m.score(), m.loss(), m.images(), padded("label", width));
  Json rows = Json::array();
  for (std::size_t k = 0; k < classes().size(); ++k) {
    const double ap = m.average_precision(k);
    rows.push_back({{"name", classes()[k]},
                    {"average_precision", std::isnan(ap) ? Json() : Json(ap)},
                    {"precision", m.precision(k)},
                    {"recall", m.recall(k)},
                    {"f1", m.f1(k)},
                    {"support", m.support(k)}});
    text += fmt::format("{}  {:>6}  {:>8.1f}%  {:>5.1f}%  {:>5.1f}%  {:>7}\n",
                        padded(printable(classes()[k]), width),
                        std::isnan(ap) ? "-" : fmt::format("{:.1f}%", 100 * ap),
                        100 * m.precision(k), 100 * m.recall(k), 100 * m.f1(k), m.support(k));
  }
  text +=
      "(AP: average precision, mAP: its mean; precision, recall and F1 where a probability of one "
      "half decides)\n";
  const Json json = {{"mean_average_precision", m.score()},
                     {"loss", m.loss()},
                     {"images", m.images()},
                     {"labels", rows}};
  return {text, json_text(json, 2)};
}

// Training pictures whose label, or its absence, the answer contradicts most surely.
Answer MultiLabelRun::suspects(const DataRequest& request, std::int64_t most,
                               const Backend& backend) const {
  constexpr double kSure = 0.9;
  DataRequest of_training = request;
  of_training.split = "train";
  const RunData images = data(of_training);
  const std::unique_ptr<Metrics> metrics =
      tapescope::evaluate(model(), *images.task, images.samples, 32, 2, backend);
  const auto& m = dynamic_cast<const LabelMetrics&>(*metrics);
  struct Suspect {
    std::int64_t image = 0;
    std::size_t label = 0;
    double probability = 0;  // that the annotation is wrong, by the model
    bool has = false;
  };
  std::vector<Suspect> all;
  for (std::size_t k = 0; k < classes().size(); ++k) {
    const std::vector<LabelMetrics::Answer>& answers = m.answers(k);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const double p = answers[i].right ? 1 - answers[i].probability : answers[i].probability;
      if (p >= kSure) all.push_back({static_cast<std::int64_t>(i), k, p, answers[i].right});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Suspect& a, const Suspect& b) {
    return a.probability > b.probability;
  });
  all.resize(std::min(all.size(), static_cast<std::size_t>(most)));
  Json list = Json::array();
  std::string text = fmt::format("\ntraining images whose labels the answers contradict{}\n",
                                 all.empty() ? ": none" : " (are they right?)");
  for (const Suspect& s : all) {
    list.push_back({{"image", images.name(s.image)},
                    {"label", classes()[s.label]},
                    {"has_label", s.has},
                    {"probability", s.has ? 1 - s.probability : s.probability}});
    text += fmt::format("  {}: {} '{}', which has {:.0f} %\n", printable(images.name(s.image)),
                        s.has ? "labelled" : "not labelled", printable(classes()[s.label]),
                        100 * (s.has ? 1 - s.probability : s.probability));
  }
  return {text, json_text(list)};
}

std::unique_ptr<Run> MultiLabelKit::open(SafetensorsFile& file, RunRequest asked,
                                         const LoadOptions& options) const {
  LoadedModel loaded = load_model(file, options);
  return std::make_unique<MultiLabelRun>(*this, std::move(asked), std::move(loaded));
}

std::unique_ptr<Run> MultiLabelKit::make(ModelConfig config) const {
  return std::make_unique<MultiLabelRun>(*this, RunRequest{},
                                         untrained_classifier(std::move(config)));
}

const Kit& multilabel_kit() {
  static const MultiLabelKit kit;
  return kit;
}

}  // namespace tapescope::tasks
