// What the report tells of labels: a table, and the worst and best answers with their maps.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/monitoring/progress_line.h"
#include "tools/page/page.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/multilabel/label_task.h"
#include "tools/tasks/multilabel/multilabel.h"
#include "tools/tasks/page_explanations.h"
#include "tools/training/trainer.h"

namespace tapescope::tasks {
namespace {

using Json = ReportPage::Json;

std::string percent(double share) {
  return std::isnan(share) ? "–" : fmt::format("{:.1f} %", 100 * share);
}

class Labelled {
 public:
  Labelled(const MultiLabelRun& run, ReportPage& page)
      : run_(run),
        page_(page),
        data_(run.data({page.options().data, page.options().split, page.options().limit, {}})),
        metrics_(evaluate(run.model(), *data_.task, data_.samples, 32, 2, page.backend())),
        m_(dynamic_cast<const LabelMetrics&>(*metrics_)) {}

  void write() {
    for (const std::string& notice : data_.notices) page_.note(notice);
    page_.card(page_.options().split + " mAP", percent(m_.score()));
    verdict();
    table();
    explanations();
  }

 private:
  const std::string& name(std::size_t label) const { return run_.classes()[label]; }
  // How far the answer to a picture is from the truth: the mean of |probability - label|.
  double distance(std::size_t image) const {
    double sum = 0;
    for (std::size_t k = 0; k < run_.classes().size(); ++k) {
      const LabelMetrics::Answer& a = m_.answers(k)[image];
      sum += std::fabs(a.probability - (a.right ? 1 : 0));
    }
    return sum / static_cast<double>(run_.classes().size());
  }
  // The labels that the picture has, or that the answer gives it.
  std::string labels(std::size_t image, bool answered) const {
    std::vector<std::string> names;
    for (std::size_t k = 0; k < run_.classes().size(); ++k) {
      const LabelMetrics::Answer& a = m_.answers(k)[image];
      if (answered ? a.probability >= 0.5f : a.right) names.push_back(name(k));
    }
    return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
  }

  // What the page says first.
  void verdict() {
    std::int64_t whole = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(m_.images()); ++i) {
      whole += labels(i, false) == labels(i, true) ? 1 : 0;
    }
    page_["verdict"] = {
        fmt::format(
            "The mAP, the mean of the labels' average precisions (AP), is {} on {} images of {}.",
            percent(m_.score()), m_.images(), page_.options().split),
        fmt::format("Of {} of them every label is answered rightly, of {} at least one is not.",
                    whole, m_.images() - whole)};
  }

  void table() {
    Json rows = Json::array();
    for (std::size_t k = 0; k < run_.classes().size(); ++k) {
      rows.push_back({name(k), percent(m_.average_precision(k)), percent(m_.precision(k)),
                      percent(m_.recall(k)), percent(m_.f1(k)), std::to_string(m_.support(k))});
    }
    page_["tables"].push_back(
        {{"id", "labels"},
         {"title", "Labels"},
         {"note", fmt::format("{} images of {}; precision, recall and F1 where a probability of "
                              "one half decides",
                              m_.images(), page_.options().split)},
         {"head", {"label", "AP", "precision", "recall", "F1", "images"}},
         {"rows", rows}});
  }

  // The pictures with the worst answers and the best ones, half each.
  void explanations() {
    std::vector<std::size_t> order(static_cast<std::size_t>(m_.images()));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return distance(a) > distance(b); });
    const std::size_t most =
        std::min(order.size(), static_cast<std::size_t>(page_.options().images));
    std::vector<std::size_t> chosen(order.begin(),
                                    order.begin() + static_cast<std::ptrdiff_t>((most + 1) / 2));
    chosen.insert(chosen.end(), order.rbegin(),
                  order.rbegin() + static_cast<std::ptrdiff_t>(most / 2));
    const ExplainOptions asked = page_.explain_options();
    ClassExplainer explainer(run_.model(), run_.class_logits(), asked);
    PageExplanations explanations(page_, asked, explainer);
    page_["images"] = Json::array();
    monitoring::ProgressBar progress("explaining", std::ssize(chosen));
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const bool score = n < static_cast<std::size_t>(page_.options().quality);
      page_["images"].push_back(
          explained(explainer, explanations, chosen[n], n < (most + 1) / 2, score));
      progress.done(static_cast<std::int64_t>(n) + 1);
    }
    explanations.finish("image", "images");
  }

  // The two labels whose answers are furthest from the truth, or surest.
  Json explained(ClassExplainer& explainer, PageExplanations& explanations, std::size_t image,
                 bool worst, bool score) const {
    const std::string file = data_.name(static_cast<std::int64_t>(image));
    const Picture picture =
        make_picture(data_.picture(static_cast<std::int64_t>(image)), file, run_.preprocess());
    PictureSettings settings = explanations.settings(run_.preprocess(), picture);
    std::vector<std::size_t> targets(run_.classes().size());
    for (std::size_t k = 0; k < targets.size(); ++k) targets[k] = k;
    const auto weight = [&](std::size_t k) {
      const LabelMetrics::Answer& a = m_.answers(k)[image];
      return worst ? std::fabs(a.probability - (a.right ? 1.0 : 0.0)) : double{a.probability};
    };
    std::stable_sort(targets.begin(), targets.end(),
                     [&](std::size_t a, std::size_t b) { return weight(a) > weight(b); });
    targets.resize(std::min<std::size_t>(targets.size(), 2));
    Json maps = Json::array(), named = Json::object();
    for (std::size_t t = 0; t < targets.size(); ++t) {
      const std::size_t target = targets[t];
      named[name(target)] = m_.answers(target)[image].probability;
      explainer.look_at(picture, static_cast<std::int64_t>(target));
      explanations.explain_target(settings, name(target), score && t == 0, maps);
    }
    return {{"name", std::filesystem::path(file).filename().string()},
            {"group", worst ? "worst" : "best"},
            {"label", labels(image, false)},
            {"predicted", labels(image, true)},
            {"probabilities", named},
            {"picture", page::picture_uri(picture.image, kPicture)},
            {"maps", maps}};
  }

  const MultiLabelRun& run_;
  ReportPage& page_;
  RunData data_;
  std::unique_ptr<Metrics> metrics_;
  const LabelMetrics& m_;
};

}  // namespace

void MultiLabelRun::report(ReportPage& page) const { Labelled(*this, page).write(); }

}  // namespace tapescope::tasks
