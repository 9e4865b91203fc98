#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/cli/box_judge.h"
#include "tools/cli/judge_json.h"
#include "tools/detection/detector_file.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"

namespace tapescope::cli {
namespace {

using nlohmann::ordered_json;
using namespace detection;

// The surest listed box of each class that lies on an annotated object of that class: boxes that
// are wrong would be judged by where they should have been.
std::vector<ChosenBox> right_boxes(const Cells& cells, const DetectorPicture& picture,
                                   const BoxOptions& options,
                                   const std::vector<std::string>& classes) {
  constexpr double kRight = 0.5;
  std::vector<ChosenBox> chosen;
  std::set<int> done;
  for (const Seen& s : listed_in(picture, cells, detect_options(options))) {
    const bool right = std::any_of(
        picture.objects.begin(), picture.objects.end(),
        [&](const Object& o) { return o.category == s.category && iou(o.box, s.box) >= kRight; });
    if (!right || !done.insert(s.category).second) continue;
    ChosenBox c;
    c.what = {s.cell_y, s.cell_x, s.category, -1};
    c.name = classes[static_cast<std::size_t>(s.category)];
    c.box = s.box;
    chosen.push_back(c);
  }
  return chosen;
}

struct Rows {  // by class and method, in the order of the methods
  std::vector<std::string> methods;
  std::map<std::pair<std::string, std::string>, std::vector<quality::Panel>> panels;
  void add(const std::string& name, const std::string& method, const quality::Panel& panel) {
    if (std::find(methods.begin(), methods.end(), method) == methods.end()) {
      methods.push_back(method);
    }
    panels[{name, method}].push_back(panel);
  }
};

}  // namespace

int benchmark_boxes(const BoxCommand& command, const std::string& split, std::int64_t limit) {
  const LoadedDetector detector = command.run.detector();
  const DetectorConfig& config = detector.model->config();
  const Annotations annotations(command.data, config, command.run.allow_outside);
  const DetectionData& data = annotations.data();
  const std::vector<AnnotatedImage>& images = split_of(data, command.data, split);
  const ModelInfo info = info_for(config);
  const std::uint64_t seed = command.explanation.settings.seed;
  BoxJudge judge(*detector.model, command.run.backend(), true, seed);
  const std::vector<std::int64_t> chosen = spread(static_cast<std::int64_t>(images.size()), limit);
  Rows rows;
  std::set<std::string> left_out;
  for (std::size_t done = 0; done < chosen.size(); ++done) {
    const std::string& path = images[static_cast<std::size_t>(chosen[done])].path;
    const DetectorPicture picture = picture_for(config, path, annotations);
    const std::vector<ChosenBox> boxes = right_boxes(judge.cells().read(picture.picture.input),
                                                     picture, command.box, config.classes);
    std::vector<BoxSubject> subjects;
    for (const ChosenBox& box : boxes) subjects.push_back(subject_of(picture, box, info, seed));
    PictureSettings picture_settings(command.explanation, info, picture.picture);
    for (const std::string& method : box_methods(command.explanation)) {
      if (left_out.contains(method) || boxes.empty()) continue;
      try {
        const explain::ExplainOptions settings = picture_settings.of(method);
        const auto maps = judge.explain(method, picture.picture.input, boxes, settings);
        const auto panels = judge.score(method, maps, subjects, boxes, settings);
        for (std::size_t b = 0; b < boxes.size(); ++b) rows.add(boxes[b].name, method, panels[b]);
      } catch (const Error& refused) {
        if (command.explanation.methods != "all") throw;
        left_out.insert(method);
        fmt::print(stderr, "left out: {}\n", refused.what());
      }
    }
    for (std::size_t b = 0; b < boxes.size(); ++b) {
      for (const quality::PanelRow& row : judge.score_controls(subjects[b])) {
        rows.add(boxes[b].name, row.method, row.panel);
      }
    }
    fmt::print(stderr, "{} of {}: {}, {} boxes\n", done + 1, chosen.size(), printable(path),
               boxes.size());
  }
  std::stable_partition(rows.methods.begin(), rows.methods.end(),
                        [](const std::string& m) { return !m.starts_with("control-"); });
  ordered_json table = ordered_json::array();
  std::string text;
  for (const std::string& name : config.classes) {
    std::vector<quality::PanelRow> means;
    std::size_t count = 0;
    for (const std::string& method : rows.methods) {
      const std::vector<quality::Panel>& panels = rows.panels[{name, method}];
      if (panels.empty()) continue;
      count = panels.size();
      const quality::PanelMean mean = quality::mean_of(panels);
      means.push_back({method, mean.mean});
      table.push_back({{"class", name},
                       {"boxes", count},
                       {"method", method},
                       {"mean", quality_json(mean.mean, box_metrics())},
                       {"standard_error", quality_json(mean.standard_error, box_metrics())}});
    }
    if (means.empty()) continue;
    text += fmt::format("{}, {} box{}\n{}\n", name, count, count == 1 ? "" : "es",
                        quality::to_text(means, box_metrics()));
  }
  if (text.empty()) {
    throw usage_error(
        "no box above --threshold {} lies on an object of its class in the {} {} "
        "pictures that were looked at",
        command.box.threshold, chosen.size(), split);
  }
  ordered_json metrics;
  for (const quality::MetricInfo& metric : box_metrics()) {
    metrics[std::string(metric.name)] = metric.what;
    if (!metric.needs_mask) text += fmt::format("{:<10} {}\n", metric.name, metric.what);
  }
  const ordered_json result = {{"run", command.run.run}, {"data", command.data},
                               {"split", split},         {"images", chosen.size()},
                               {"metrics", metrics},     {"methods", table}};
  if (!command.out.empty()) write_atomically(command.out, json_text(result, 2) + "\n");
  fmt::print("{}", command.json ? json_text(result, 2) + "\n" : text);
  return 0;
}

}  // namespace tapescope::cli
