#include <algorithm>
#include <map>

#include "tools/explanation/picture_settings.h"
#include "tools/monitoring/suspects.h"
#include "tools/page/page.h"
#include "tools/report/confusion.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/report_page.h"

namespace tapescope::tasks {
namespace {

using Json = ReportPage::Json;
namespace fs = std::filesystem;

constexpr std::size_t kThumbnailsACell = 6, kMostThumbnails = 150, kPairs = 40;

class Classified {
 public:
  Classified(const ClassificationRun& run, ReportPage& page)
      : run_(run), loaded_(run.loaded()), page_(page) {}

  void write() {
    const ReportOptions& options = page_.options();
    const DataSplits splits = run_.open({.folder = options.data, .split = options.split});
    for (const std::string& notice : splits.notices) page_.note(notice);
    std::shared_ptr<const Dataset> data = splits.split(options.split);
    if (data->size() > options.limit) {
      page_.note(fmt::format("{} of {} images of {} were looked at, evenly over the set",
                             options.limit, data->size(), options.split));
      data = std::make_shared<Subset>(data, spread(data->size(), options.limit));
    }
    fmt::print(stderr, "judging {} images\n", data->size());
    const std::vector<monitoring::Judged> judged =
        monitoring::judge_images(*loaded_.model, loaded_.info, data, page_.backend());
    confusion(*data, judged);
    explanations(*data, judged);
    suspects(splits);
  }

 private:
  const std::string& class_name(std::int64_t c) const {
    return loaded_.info.classes[static_cast<std::size_t>(c)];
  }

  void confusion(const Dataset& data, const std::vector<monitoring::Judged>& judged) {
    const std::size_t classes = loaded_.info.classes.size();
    std::vector<std::vector<std::int64_t>> matrix(classes, std::vector<std::int64_t>(classes, 0));
    Json cells = Json::object();
    std::size_t thumbnails = 0, right = 0;
    for (const monitoring::Judged& j : judged) {
      ++matrix[static_cast<std::size_t>(j.label)][static_cast<std::size_t>(j.predicted)];
      right += j.label == j.predicted;
    }
    // Errors first: they are what one wants to see.
    for (const bool errors : {true, false}) {
      for (const monitoring::Judged& j : judged) {
        if ((j.label != j.predicted) != errors || thumbnails >= kMostThumbnails) continue;
        Json& cell = cells[fmt::format("{},{}", j.label, j.predicted)];
        if (cell.size() >= (errors ? kThumbnailsACell : 2)) continue;
        cell.push_back({{"name", data.name(j.index)},
                        {"probability", j.predicted_probability},
                        {"picture", page::picture_uri(copy_of(data.image(j.index)), kThumbnail)}});
        ++thumbnails;
      }
    }
    Json pairs = Json::array();  // of many classes, whose table is wider than any page
    if (classes >= kManyClasses) {
      for (const ConfusedPair& pair : most_confused(matrix, kPairs)) {
        pairs.push_back({pair.label, pair.predicted});
      }
    }
    page_["confusion"] = {
        {"classes", loaded_.info.classes}, {"matrix", matrix}, {"pairs", pairs},
        {"many", classes >= kManyClasses}, {"cells", cells},   {"images", judged.size()},
        {"split", page_.options().split}};
    page_.card(page_.options().split + " accuracy",
               fmt::format("{:.2f} %", judged.empty() ? 0.0
                                                      : 100.0 * static_cast<double>(right) /
                                                            static_cast<double>(judged.size())));
  }

  // The worst answers and the best ones, half each.
  void explanations(const Dataset& data, std::vector<monitoring::Judged> judged) {
    std::stable_sort(
        judged.begin(), judged.end(),
        [](const monitoring::Judged& a, const monitoring::Judged& b) { return a.loss > b.loss; });
    const auto half = static_cast<std::size_t>((page_.options().images + 1) / 2);
    std::vector<std::pair<std::string, monitoring::Judged>> chosen;
    for (std::size_t i = 0; i < std::min(half, judged.size()); ++i) {
      const bool wrong = judged[i].label != judged[i].predicted;
      chosen.emplace_back(wrong ? "wrong" : "least sure", judged[i]);
    }
    const std::size_t rest = judged.size() - chosen.size();
    for (std::size_t i = 0;
         i < std::min(static_cast<std::size_t>(page_.options().images) / 2, rest); ++i) {
      chosen.emplace_back("right", judged[judged.size() - 1 - i]);
    }
    ExplainOptions asked{.backend = page_.backend(), .score = page_.options().quality > 0};
    asked.request.methods =
        page_.options().methods.empty() ? run_.kit().usual_methods() : page_.options().methods;
    asked.request.settings.budget = page_.options().budget;
    ClassExplainer explainer(*loaded_.model, run_.class_logits(), asked);
    std::vector<std::string> methods = explainer.methods();
    QualityTable quality(quality::all_metrics());
    Json images = Json::array();
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const auto& [group, j] = chosen[n];
      fmt::print(stderr, "explaining {} of {}\n", n + 1, chosen.size());
      const Picture picture =
          make_picture(copy_of(data.image(j.index)), data.name(j.index), run_.preprocess());
      PictureSettings settings(asked.request, run_.preprocess(), picture);
      explainer.look_at(picture, j.predicted);
      const std::vector<double> p = explainer.probabilities();
      std::vector<std::int64_t> targets{j.predicted};
      targets.push_back(j.label != j.predicted ? j.label : runner_up(p, j.predicted));
      Json maps = Json::array(), named = Json::object();
      for (std::int64_t target : targets) {
        named[class_name(target)] = p[static_cast<std::size_t>(target)];
        const bool score =
            target == j.predicted && n < static_cast<std::size_t>(page_.options().quality);
        explainer.look_at(picture, target);
        for (auto it = methods.begin(); it != methods.end();) {
          try {
            const explain::ExplainOptions its = settings.of(*it);
            const std::vector<explain::Attribution> found = explainer.explain(*it, its);
            Json map = map_json(found[0]);
            map["target"] = class_name(target);
            maps.push_back(std::move(map));
            if (score) {
              const auto panel = explainer.score(*it, found, its)[0];
              if (panel) quality.add("", {*it, *panel});
            }
            ++it;
          } catch (const Error& refused) {
            page_.note(fmt::format("{} is left out: {}", *it, refused.what()));
            it = methods.erase(it);
          }
        }
        if (!score) continue;
        for (const quality::PanelRow& row : explainer.score_controls(0)) quality.add("", row);
      }
      images.push_back({{"name", fs::path(data.name(j.index)).filename().string()},
                        {"group", group},
                        {"label", class_name(j.label)},
                        {"predicted", class_name(j.predicted)},
                        {"probabilities", named},
                        {"picture", page::picture_uri(picture.image, kPicture)},
                        {"maps", maps}});
    }
    page_["images"] = images;
    if (Json scores = quality.json("", "image", "images"); !scores.is_null()) {
      page_["quality"] = std::move(scores);
    }
  }

  static std::int64_t runner_up(const std::vector<double>& p, std::int64_t best) {
    std::int64_t second = best == 0 ? 1 : 0;
    for (std::size_t c = 0; c < p.size(); ++c) {
      if (static_cast<std::int64_t>(c) != best && p[c] > p[static_cast<std::size_t>(second)]) {
        second = static_cast<std::int64_t>(c);
      }
    }
    return second;
  }

  void suspects(const DataSplits& splits) {
    constexpr std::size_t kMost = 12;
    if (!splits.train || splits.train->size() > page_.options().limit) return;
    for (const monitoring::Judged& j : monitoring::label_suspects(
             monitoring::judge_images(*loaded_.model, loaded_.info, splits.train, page_.backend()),
             kMost)) {
      page_["suspects"].push_back(
          {{"name", splits.train->name(j.index)},
           {"label", class_name(j.label)},
           {"predicted", class_name(j.predicted)},
           {"probability", j.predicted_probability},
           {"picture", page::picture_uri(copy_of(splits.train->image(j.index)), kThumbnail)}});
    }
  }

  const ClassificationRun& run_;
  const LoadedModel& loaded_;
  ReportPage& page_;
};

}  // namespace

void ClassificationRun::report(ReportPage& page) const { Classified(*this, page).write(); }

}  // namespace tapescope::tasks
