#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tools/detection/box_errors.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/error_costs.h"
#include "tools/monitoring/progress_line.h"
#include "tools/page/page.h"
#include "tools/tasks/detection/box_picture_explainer.h"
#include "tools/tasks/detection/detection.h"
#include "tools/tasks/page_explanations.h"
#include "tools/training/trainer.h"

namespace tapescope::tasks {
namespace {

using Json = ReportPage::Json;
namespace fs = std::filesystem;
using namespace detection;

constexpr int kBins = 20;           // of the probabilities' histogram
constexpr double kLeastBin = 0.05;  // nearly every cell has an answer below
constexpr int kPixels = 640;        // of a picture's longer side at most

// -1 is COCO's "there is nothing to find".
Json or_null(double value) { return value < 0 ? Json() : Json(value); }

// What the boxes above the threshold of one picture are.
struct Tally {
  std::int64_t image = 0;  // in the source
  std::int64_t right = 0, wrong = 0, missed = 0;
  // F1, the harmonic mean of precision and recall.
  double f1() const {
    return 2 * static_cast<double>(right) / static_cast<double>(2 * right + wrong + missed);
  }
  std::int64_t errors() const { return wrong + missed; }
};

class Detected {
 public:
  Detected(const DetectionRun& run, ReportPage& page)
      : run_(run),
        page_(page),
        options_(page.options()),
        model_(run.model()),
        classes_(model_.config().classes) {}

  void write() {
    const RunData data = run_.data({options_.data, options_.split, options_.limit, {}});
    for (const std::string& notice : data.notices) page_.note(notice);
    fmt::print(stderr, "judging {} images\n", data.samples->size());
    const std::unique_ptr<Metrics> metrics =
        evaluate(model_, *data.task, data.samples, 16, 2, page_.backend());
    const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
    truths_ = found.truths();
    const std::vector<Detection>& detections = found.detections();
    const Judgement judged = judge_boxes(truths_, detections, options_.threshold);
    json_ = {{"split", options_.split},
             {"images", data.samples->size()},
             {"objects", truths_.size()},
             {"threshold", options_.threshold}};
    numbers(found.result());
    by_class(found.result(), detections, judged);
    errors(judged, detections);
    histogram(detections);
    pictures(data, worst_and_best(data, detections, judged));
    page_["detection"] = std::move(json_);
  }

 private:
  const std::string& class_name(int category) const {
    return classes_[static_cast<std::size_t>(category)];
  }

  void numbers(const CocoResult& result) {
    const std::array<double, 12> summary = result.summary();
    for (std::size_t i = 0; i < summary.size(); ++i) {
      json_["summary"][CocoResult::summary_names()[i]] = or_null(summary[i]);
    }
    for (const auto& [name, value] : {std::pair{"AP", summary[0]}, {"AP50", summary[1]}}) {
      page_.card(fmt::format("{} {} (COCO's rules)", options_.split, name),
                 value < 0 ? "–" : fmt::format("{:.2f} %", 100 * value));
    }
  }

  void by_class(const CocoResult& result, const std::vector<Detection>& detections,
                const Judgement& judged) {
    constexpr int kHalf = 0, kThreeQuarters = 5;  // IoU 0.50 and 0.75 among the thresholds
    Json rows = Json::array();
    for (std::size_t k = 0; k < classes_.size(); ++k) {
      const int category = static_cast<int>(k);
      std::int64_t boxes = 0, right = 0;
      for (const JudgedBox& box : judged.boxes) {
        if (detections[box.detection].category != category) continue;
        ++boxes;
        right += box.outcome == Outcome::right;
      }
      Json curves = Json::array();
      for (const int t : {kHalf, kThreeQuarters}) {
        Json precision = Json::array();
        for (int r = 0; r < kRecalls; ++r) {
          const double p = result.precision_at(t, r, category, 0, kMaxDetections - 1);
          if (p >= 0) precision.push_back(std::round(1e4 * p) / 1e4);
        }
        curves.push_back(std::move(precision));
      }
      rows.push_back({{"name", classes_[k]},
                      {"objects", std::count_if(truths_.begin(), truths_.end(),
                                                [&](const Truth& t) {
                                                  return t.category == category && !t.crowd;
                                                })},
                      {"boxes", boxes},
                      {"right", right},
                      {"ap", or_null(result.average_precision(category))},
                      {"ap50", or_null(result.average_precision(category, kHalf))},
                      {"ap75", or_null(result.average_precision(category, kThreeQuarters))},
                      {"precision50", std::move(curves[0])},
                      {"precision75", std::move(curves[1])}});
    }
    json_["classes"] = std::move(rows);
  }

  // Counted above the threshold; what they cost is of all boxes, as AP is.
  void errors(const Judgement& judged, const std::vector<Detection>& detections) {
    const ErrorCounts c = count_errors(judged);
    json_["errors"] = {
        {"right", c.right},  {"classification", c.classification}, {"localisation", c.localisation},
        {"both", c.both},    {"duplicate", c.duplicate},           {"background", c.background},
        {"missed", c.missed}};
    std::vector<std::int64_t> images(json_["images"].get<std::size_t>());
    std::iota(images.begin(), images.end(), 0);
    std::vector<int> categories(classes_.size());
    std::iota(categories.begin(), categories.end(), 0);
    const ErrorCosts costs = error_costs(truths_, detections, images, categories);
    json_["error_costs"]["missed"] = costs.missed;
    for (int k = 1; k < kOutcomes; ++k) {  // right ones cost nothing
      json_["error_costs"][name_of(static_cast<Outcome>(k))] =
          costs.of_boxes[static_cast<std::size_t>(k)];
    }
  }

  // Of every box that is not all but impossible, right or not.
  void histogram(const std::vector<Detection>& detections) {
    std::array<std::int64_t, kBins> right{}, wrong{};
    for (const JudgedBox& box : judge_boxes(truths_, detections, kLeastBin).boxes) {
      const double score = detections[box.detection].score;
      const auto bin = static_cast<std::size_t>(std::clamp(score * kBins, 0.0, kBins - 1.0));
      ++(box.outcome == Outcome::right ? right : wrong)[bin];
    }
    json_["histogram"] = {{"right", right}, {"wrong", wrong}};
  }

  // By falling number of errors of the worst F1, then by rising F1's best: half each.
  std::vector<std::pair<std::string, Tally>> worst_and_best(
      const RunData& data, const std::vector<Detection>& detections,
      const Judgement& judged) const {
    std::vector<Tally> tallies(static_cast<std::size_t>(data.samples->size()));
    for (std::size_t i = 0; i < tallies.size(); ++i) {
      tallies[i].image = static_cast<std::int64_t>(i);
    }
    for (const JudgedBox& box : judged.boxes) {
      Tally& tally = tallies[static_cast<std::size_t>(detections[box.detection].image)];
      ++(box.outcome == Outcome::right ? tally.right : tally.wrong);
    }
    for (std::size_t i = 0; i < truths_.size(); ++i) {
      const Truth& t = truths_[i];
      if (judged.found[i] || t.crowd || t.difficult) continue;
      ++tallies[static_cast<std::size_t>(t.image)].missed;
    }
    std::erase_if(tallies, [](const Tally& t) { return t.right + t.errors() == 0; });
    std::stable_sort(tallies.begin(), tallies.end(), [](const Tally& a, const Tally& b) {
      return std::pair{a.f1(), -a.errors()} < std::pair{b.f1(), -b.errors()};
    });
    std::vector<std::pair<std::string, Tally>> chosen;
    const std::size_t most = std::min(tallies.size(), static_cast<std::size_t>(options_.images));
    for (std::size_t i = 0; i < (most + 1) / 2; ++i) chosen.emplace_back("worst", tallies[i]);
    // Of equally good ones those with most objects.
    std::stable_sort(tallies.begin() + static_cast<std::ptrdiff_t>((most + 1) / 2), tallies.end(),
                     [](const Tally& a, const Tally& b) {
                       return std::pair{a.f1(), a.right} > std::pair{b.f1(), b.right};
                     });
    for (std::size_t i = 0; i < most / 2; ++i) {
      chosen.emplace_back("best", tallies[(most + 1) / 2 + i]);
    }
    return chosen;
  }

  // A box or a missed object of a picture, and why it is what it is called.
  struct Entry {
    ChosenBox box;
    std::string outcome, why;
    double score = 0;
    Json maps = Json::array();
  };

  void pictures(const RunData& data, const std::vector<std::pair<std::string, Tally>>& chosen) {
    const Annotations annotations(options_.data, model_.config(), run_.asked().allow_outside);
    const ExplainOptions asked = page_.explain_options();
    BoxPictureExplainer explainer(model_, asked, run_.asked().allow_outside);
    PageExplanations explanations(page_, asked, explainer);
    std::int64_t scored = 0;
    json_["pictures"] = Json::array();
    monitoring::ProgressBar progress("explaining", std::ssize(chosen));
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const auto& [group, tally] = chosen[n];
      const std::string path = data.name(tally.image);
      const DetectorPicture picture = picture_for(model_.config(), path, annotations);
      std::vector<Entry> entries;
      Json objects = Json::array();
      look_at(explainer.cells().read(picture.picture.input), picture, entries, objects);
      scored += explain(picture, explainer, explanations, scored < options_.quality, entries);
      json_["pictures"].push_back({{"name", fs::path(path).filename().string()},
                                   {"group", group},
                                   {"f1", tally.f1()},
                                   {"right", tally.right},
                                   {"wrong", tally.wrong},
                                   {"missed", tally.missed},
                                   {"width", picture.picture.image.width},
                                   {"height", picture.picture.image.height},
                                   {"picture", page::picture_uri(picture.picture.image, kPixels)},
                                   {"objects", std::move(objects)},
                                   {"boxes", entries_json(entries)}});
      progress.done(static_cast<std::int64_t>(n) + 1);
    }
    explanations.finish("box", "boxes");
  }

  // Gives entries their maps. Where `may_score`, the surest right box is scored; whether there was
  // one.
  bool explain(const DetectorPicture& picture, BoxPictureExplainer& explainer,
               PageExplanations& explanations, bool may_score, std::vector<Entry>& entries) const {
    const std::vector<std::size_t> order = explained(entries);
    if (order.empty()) return false;
    std::vector<ChosenBox> boxes;
    for (std::size_t i : order) boxes.push_back(entries[i].box);
    explainer.look_at(picture, boxes);
    const auto first_right = std::find_if(order.begin(), order.end(), [&](std::size_t i) {
      return entries[i].outcome == name_of(Outcome::right);
    });
    const bool score = may_score && first_right != order.end();
    const auto judged = static_cast<std::size_t>(first_right - order.begin());
    PictureSettings settings = explanations.settings(run_.preprocess(), picture.picture);
    std::vector<std::pair<std::string, explain::Attribution>> to_score;
    explanations.explain(settings, [&](const std::string& method, const explain::ExplainOptions&,
                                       const std::vector<explain::Attribution>& maps) {
      for (std::size_t i = 0; i < maps.size(); ++i) {
        entries[order[i]].maps.push_back(map_json(maps[i]));
      }
      if (score) to_score.emplace_back(method, maps[judged]);
    });
    if (!score) return false;
    explainer.look_at(picture, {boxes[judged]});
    for (const auto& [method, map] : to_score) {
      explanations.score(method, map, settings.of(method));
    }
    explanations.score_controls();
    return true;
  }

  Json entries_json(std::vector<Entry>& entries) const {
    Json list = Json::array();
    for (Entry& entry : entries) {
      list.push_back({{"outcome", entry.outcome},
                      {"class", class_name(entry.box.what.category)},
                      {"score", entry.score},
                      {"box", box_json(entry.box.box)},
                      {"why", entry.why},
                      {"maps", std::move(entry.maps)}});
    }
    return list;
  }

  // What the detector lists and what it misses in one picture; boxes in the input's pixels, judged
  // as those of the whole split are, in the picture's.
  void look_at(const Cells& cells, const DetectorPicture& picture, std::vector<Entry>& entries,
               Json& objects) const {
    DetectOptions detect;
    detect.threshold = static_cast<float>(options_.threshold);
    std::vector<Truth> truths;
    for (const Object& o : picture.objects) {
      truths.push_back({0, static_cast<std::int64_t>(truths.size()) + 1, o.category,
                        picture.in_picture(o.box), o.area, o.crowd, o.difficult});
    }
    const std::vector<Seen> seen = listed_in(picture, cells, detect);
    std::vector<Detection> detections;
    for (const Seen& s : seen) {
      detections.push_back({0, s.category, picture.in_picture(s.box), s.score});
    }
    const Judgement judged = judge_boxes(truths, detections, 0);
    const auto add = [&](CellNumber what, const Box& box) -> Entry& {
      Entry entry;
      entry.box.what = what;
      entry.box.box = box;
      entry.box.name = class_name(what.category);
      entry.box.verdict = verdict_of(cells, what.y, what.x, what.category, detect);
      entry.score = entry.box.verdict.score;
      entries.push_back(std::move(entry));
      return entries.back();
    };
    for (const JudgedBox& judgement : judged.boxes) {
      const Seen& s = seen[judgement.detection];
      Entry& entry = add({s.cell_y, s.cell_x, s.category, -1}, s.box);
      entry.outcome = name_of(judgement.outcome);
      const std::string object =
          judgement.truth < 0
              ? ""
              : class_name(truths[static_cast<std::size_t>(judgement.truth)].category);
      entry.why = reason(judgement, object) + "; " +
                  to_text(entry.box, picture, cells.grid, classes_, detect);
    }
    for (std::size_t i = 0; i < truths.size(); ++i) {
      const Object& object = picture.objects[i];
      const bool counts = !object.crowd && !object.difficult;
      objects.push_back({{"box", box_json(object.box)},
                         {"class", class_name(object.category)},
                         {"missed", counts && !judged.found[i]}});
      if (!counts || judged.found[i]) continue;
      const Missed m = best_cell(cells, object, detect);
      Entry& entry = add({m.y, m.x, object.category, -1}, object.box);
      entry.box.missed = m;
      entry.outcome = "missed";
      entry.why = to_text(entry.box, picture, cells.grid, classes_, detect);
    }
  }

  static std::string reason(const JudgedBox& box, const std::string& object) {
    const std::string with = fmt::format("an IoU of {:.2f} with the '{}'", box.overlap, object);
    switch (box.outcome) {
      case Outcome::right:
        return with + " annotated there";
      case Outcome::classification:
        return with + " annotated there: another class";
      case Outcome::localisation:
        return with + " annotated there: badly placed";
      case Outcome::both:
        return with + " annotated there: another class, and badly placed";
      case Outcome::duplicate:
        return with + ", which a surer box has found";
      case Outcome::background:
        return "nothing that is annotated has an IoU of 0.1 with it";
    }
    return "";
  }

  // Which entries are explained: wrong, missed and right ones in turn, as they come.
  std::vector<std::size_t> explained(const std::vector<Entry>& entries) const {
    std::array<std::vector<std::size_t>, 3> kinds;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const bool right = entries[i].outcome == name_of(Outcome::right);
      kinds[right ? 2 : entries[i].outcome == "missed" ? 1 : 0].push_back(i);
    }
    std::vector<std::size_t> order;
    for (std::size_t turn = 0; turn < entries.size(); ++turn) {
      for (const std::vector<std::size_t>& kind : kinds) {
        if (turn < kind.size() && order.size() < static_cast<std::size_t>(options_.boxes)) {
          order.push_back(kind[turn]);
        }
      }
    }
    return order;
  }

  const DetectionRun& run_;
  ReportPage& page_;
  const ReportOptions& options_;
  const BoxNet& model_;
  const std::vector<std::string>& classes_;
  std::vector<Truth> truths_;
  Json json_;
};

}  // namespace

void DetectionRun::report(ReportPage& page) const { Detected(*this, page).write(); }

}  // namespace tapescope::tasks
