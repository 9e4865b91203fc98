// eval of a classifier, and its training pictures whose label may be wrong.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/monitoring/suspects.h"
#include "tools/report/confusion.h"
#include "tools/tasks/classification/classification.h"
#include "tools/training/deviation.h"

namespace tapescope::tasks {
namespace {

using Json = nlohmann::ordered_json;

// Wrong answers, those furthest from the truth first.
std::vector<monitoring::Judged> wrong_of(std::vector<monitoring::Judged> judged) {
  std::erase_if(judged, [](const monitoring::Judged& j) { return !j.wrong(); });
  std::stable_sort(judged.begin(), judged.end(),
                   [](const monitoring::Judged& a, const monitoring::Judged& b) {
                     return a.margin() > b.margin();
                   });
  return judged;
}

struct Evaluated {
  const ClassificationMetrics& metrics;
  const std::vector<std::string>& classes;
  const Dataset& data;
  std::optional<std::vector<monitoring::Judged>> wrong;  // where they were asked for
  const std::string& class_name(std::int64_t c) const {
    return classes[static_cast<std::size_t>(c)];
  }
};

Json json_of(const Evaluated& evaluated) {
  const ClassificationMetrics& m = evaluated.metrics;
  Json rows = Json::array();
  for (std::size_t c = 0; c < evaluated.classes.size(); ++c) {
    rows.push_back({{"name", evaluated.classes[c]},
                    {"precision", m.precision(c)},
                    {"recall", m.recall(c)},
                    {"support", m.support(c)}});
  }
  Json json = {{"accuracy", m.score()},
               {"loss", m.loss()},
               {"images", m.images()},
               {"classes", rows},
               {"confusion", m.confusion()}};
  if (!evaluated.wrong) return json;
  json["wrong"] = Json::array();
  for (const monitoring::Judged& j : *evaluated.wrong) {
    json["wrong"].push_back({{"path", evaluated.data.name(j.index)},
                             {"label", evaluated.class_name(j.label)},
                             {"predicted", evaluated.class_name(j.predicted)},
                             {"probability", j.predicted_probability},
                             {"label_probability", j.label_probability},
                             {"margin", j.margin()}});
  }
  return json;
}

std::string wrong_text(const Evaluated& evaluated, std::size_t width) {
  std::string text =
      fmt::format("\n{} wrong answers, the largest margin first\n", evaluated.wrong->size());
  if (evaluated.wrong->empty()) return text;
  width = std::max<std::size_t>(width, 9);
  text += fmt::format("{}  {}  probability  margin  file\n", padded("true", width),
                      padded("predicted", width));
  for (const monitoring::Judged& j : *evaluated.wrong) {
    text += fmt::format("{}  {}  {:>9.1f} %  {:>6.3f}  {}\n",
                        padded(printable(evaluated.class_name(j.label)), width),
                        padded(printable(evaluated.class_name(j.predicted)), width),
                        100 * j.predicted_probability, j.margin(),
                        printable(evaluated.data.name(j.index)));
  }
  return text;
}

std::string text_of(const Evaluated& evaluated) {
  const ClassificationMetrics& m = evaluated.metrics;
  std::vector<std::string> classes;
  std::size_t width = 5;
  for (const std::string& name : evaluated.classes) {
    classes.push_back(printable(name));
    width = std::max(width, characters(classes.back()));
  }
  std::string text = fmt::format(
      "accuracy {:.2f} %   loss {:.4f}   {} images\n\n{}  precision  "
      "recall  support\n",
      100 * m.score(), m.loss(), m.images(), padded("class", width));
  for (std::size_t c = 0; c < classes.size(); ++c) {
    text += fmt::format("{}  {:>8.1f}%  {:>5.1f}%  {:>7}\n", padded(classes[c], width),
                        100 * m.precision(c), 100 * m.recall(c), m.support(c));
  }
  text += "\n" + confusion_text(m.confusion(), classes);
  return evaluated.wrong ? text + wrong_text(evaluated, width) : text;
}

}  // namespace

Answer ClassificationRun::evaluate(const EvaluationRequest& request, const Backend& backend) const {
  if (request.localise) {
    if (request.wrong) throw usage_error("--wrong and --localise exclude each other");
    return evaluate_localisation(*this, request, backend);
  }
  const DataSplits data = open(request.data);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images) {
    fmt::print(stderr, "left out: {}\n", printable(bad));
  }
  const Classification task(info().config, {.name = info().loss});
  const auto split = data.split(request.data.split);
  tell_deviation(model(), task, std::make_shared<ImageSource>(split, info().pipeline), backend);
  const std::unique_ptr<Metrics> metrics = tapescope::evaluate(
      model(), task, split, info().pipeline, request.batch_size, request.loader_threads, backend);
  Evaluated evaluated{dynamic_cast<const ClassificationMetrics&>(*metrics), classes(), *split, {}};
  if (request.wrong) {
    evaluated.wrong = wrong_of(monitoring::judge_images(model(), info(), split, backend));
  }
  return {text_of(evaluated), json_text(json_of(evaluated), 2)};
}

Answer ClassificationRun::suspects(const DataRequest& request, std::int64_t most,
                                   const Backend& backend) const {
  const DataSplits splits = open(request);
  for (const std::string& notice : splits.notices) fmt::print(stderr, "{}\n", notice);
  const std::shared_ptr<const Dataset> data = splits.split("train");
  const std::vector<monitoring::Judged> suspects = monitoring::label_suspects(
      monitoring::judge_images(model(), info(), data, backend), static_cast<std::size_t>(most));
  Json list = Json::array();
  std::string text =
      fmt::format("\ntraining images that are confidently taken for another class{}\n",
                  suspects.empty() ? ": none" : " (is the label right?)");
  for (const monitoring::Judged& j : suspects) {
    const std::string& label = classes()[static_cast<std::size_t>(j.label)];
    const std::string& other = classes()[static_cast<std::size_t>(j.predicted)];
    list.push_back({{"image", data->name(j.index)},
                    {"label", label},
                    {"predicted", other},
                    {"probability", j.predicted_probability},
                    {"loss", j.loss}});
    text += fmt::format("  {}: labelled {}, taken for {} with {:.0f} %\n", data->name(j.index),
                        label, other, 100 * j.predicted_probability);
  }
  return {text, json_text(list)};
}

}  // namespace tapescope::tasks
