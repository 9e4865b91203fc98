#include <algorithm>
#include <map>

#include "tools/monitoring/progress_line.h"
#include "tools/monitoring/suspects.h"
#include "tools/page/page.h"
#include "tools/report/confusion.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/page_explanations.h"

namespace tapescope::tasks {
namespace {

using Json = ReportPage::Json;
namespace fs = std::filesystem;

constexpr std::size_t kThumbnailsACell = 6, kMostThumbnails = 150, kPairs = 40;

class Classified {
 public:
  Classified(const ClassificationRun& run, ReportPage& page) : run_(run), page_(page) {}

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
        monitoring::judge_images(run_.model(), run_.info(), data, page_.backend());
    confusion(*data, judged);
    explanations(*data, judged);
    suspects(splits);
  }

 private:
  const std::string& class_name(std::int64_t c) const {
    return run_.classes()[static_cast<std::size_t>(c)];
  }

  void confusion(const Dataset& data, const std::vector<monitoring::Judged>& judged) {
    const std::size_t classes = run_.classes().size();
    std::vector<std::vector<std::int64_t>> matrix(classes, std::vector<std::int64_t>(classes, 0));
    Json cells = Json::object();
    std::size_t thumbnails = 0, right = 0;
    for (const monitoring::Judged& j : judged) {
      ++matrix[static_cast<std::size_t>(j.label)][static_cast<std::size_t>(j.predicted)];
      right += !j.wrong();
    }
    // Errors first: they are what one wants to see.
    for (const bool errors : {true, false}) {
      for (const monitoring::Judged& j : judged) {
        if (j.wrong() != errors || thumbnails >= kMostThumbnails) continue;
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
        {"classes", run_.classes()},       {"matrix", matrix}, {"pairs", pairs},
        {"many", classes >= kManyClasses}, {"cells", cells},   {"images", judged.size()},
        {"split", page_.options().split}};
    page_.card(page_.options().split + " accuracy",
               fmt::format("{:.2f} %", judged.empty() ? 0.0
                                                      : 100.0 * static_cast<double>(right) /
                                                            static_cast<double>(judged.size())));
  }

  // The worst answers and the best ones, half each, and what each is called: wrong ones by their
  // margin, as `eval --wrong` has them, then right ones by their loss.
  std::vector<std::pair<std::string, monitoring::Judged>> worst_and_best(
      std::vector<monitoring::Judged> judged) const {
    const auto badness = [](const monitoring::Judged& j) {
      return std::pair(j.wrong(), j.wrong() ? j.margin() : j.loss);
    };
    std::stable_sort(judged.begin(), judged.end(),
                     [&](const auto& a, const auto& b) { return badness(a) > badness(b); });
    const auto half = static_cast<std::size_t>((page_.options().images + 1) / 2);
    std::vector<std::pair<std::string, monitoring::Judged>> chosen;
    for (std::size_t i = 0; i < std::min(half, judged.size()); ++i) {
      chosen.emplace_back(judged[i].wrong() ? "wrong" : "least sure", judged[i]);
    }
    const std::size_t rest = judged.size() - chosen.size();
    for (std::size_t i = 0;
         i < std::min(static_cast<std::size_t>(page_.options().images) / 2, rest); ++i) {
      chosen.emplace_back("right", judged[judged.size() - 1 - i]);
    }
    return chosen;
  }

  void explanations(const Dataset& data, const std::vector<monitoring::Judged>& judged) {
    const auto chosen = worst_and_best(judged);
    const ExplainOptions asked = page_.explain_options();
    ClassExplainer explainer(run_.model(), run_.class_logits(), asked);
    PageExplanations explanations(page_, asked, explainer);
    Json images = Json::array();
    monitoring::ProgressBar progress("explaining", std::ssize(chosen));
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const auto& [group, j] = chosen[n];
      const bool score = n < static_cast<std::size_t>(page_.options().quality);
      Json image = explained(data, j, explainer, explanations, score);
      image["group"] = group;
      images.push_back(std::move(image));
      progress.done(static_cast<std::int64_t>(n) + 1);
    }
    page_["images"] = std::move(images);
    explanations.finish("image", "images");
  }

  // The answer, which is scored, and the true class, or where it is right the runner-up.
  Json explained(const Dataset& data, const monitoring::Judged& j, ClassExplainer& explainer,
                 PageExplanations& explanations, bool score) const {
    const Picture picture =
        make_picture(copy_of(data.image(j.index)), data.name(j.index), run_.preprocess());
    PictureSettings settings = explanations.settings(run_.preprocess(), picture);
    explainer.look_at(picture, j.predicted);
    const std::vector<double> p = explainer.probabilities();
    Json maps = Json::array(), named = Json::object();
    for (std::int64_t target : {j.predicted, j.wrong() ? j.label : runner_up(p, j.predicted)}) {
      named[class_name(target)] = p[static_cast<std::size_t>(target)];
      explainer.look_at(picture, target);
      explanations.explain_target(settings, class_name(target), score && target == j.predicted,
                                  maps);
    }
    return {{"name", fs::path(data.name(j.index)).filename().string()},
            {"group", ""},
            {"label", class_name(j.label)},
            {"predicted", class_name(j.predicted)},
            {"probabilities", named},
            {"picture", page::picture_uri(picture.image, kPicture)},
            {"maps", maps}};
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
             monitoring::judge_images(run_.model(), run_.info(), splits.train, page_.backend()),
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
  ReportPage& page_;
};

}  // namespace

void ClassificationRun::report(ReportPage& page) const { Classified(*this, page).write(); }

}  // namespace tapescope::tasks
