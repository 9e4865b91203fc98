#include "tools/tasks/benchmark_explanations.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/data/dataset.h"
#include "tools/explanation/picture_settings.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/monitoring/progress_line.h"
#include "tools/quality/panel_json.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void add_once(std::vector<std::string>& list, const std::string& name) {
  if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
}

// The mask of DATA/<where>/<name>.jpg is MASKS/<where>/<name>.png.
std::string mask_path(const BenchmarkCommand& command, const std::string& picture) {
  const fs::path relative = fs::path(picture).lexically_relative(command.data.folder);
  const fs::path mask = (fs::path(command.masks) / relative).replace_extension(".png");
  if (!fs::exists(mask)) {
    throw usage_error("picture '{}' has no mask '{}'; --masks must mirror --data, with .png files",
                      picture, mask.string());
  }
  return mask.string();
}

// Means over a group's targets: rows for people, and of the JSON.
std::vector<quality::PanelRow> means_of(const QualityTable& table, const std::string& group,
                                        Json& rows) {
  std::vector<quality::PanelRow> means;
  for (const std::string& method : table.methods()) {
    const std::vector<quality::Panel>& panels = table.panels(group, method);
    if (panels.empty()) continue;
    const quality::PanelMean mean = quality::mean_of(panels);
    means.push_back({method, mean.mean});
    Json row = Json::object();
    if (!group.empty()) row = {{"class", group}, {"boxes", panels.size()}};
    row["method"] = method;
    row["mean"] = quality::quality_json(mean.mean, table.metrics());
    row["standard_error"] = quality::quality_json(mean.standard_error, table.metrics());
    rows.push_back(row);
  }
  return means;
}

// Every method on what is explained of one picture.
void score_picture(PictureExplainer& explainer, const BenchmarkCommand& command,
                   PictureSettings& settings, QualityTable& table,
                   std::set<std::string>& left_out) {
  const std::vector<Target>& targets = explainer.targets();
  for (const std::string& method : explainer.methods()) {
    if (left_out.contains(method) || targets.empty()) continue;
    try {
      const explain::ExplainOptions its = settings.of(method);
      const std::vector<explain::Attribution> maps = explainer.explain(method, its);
      const auto panels = explainer.score(method, maps, its);
      for (std::size_t t = 0; t < targets.size(); ++t) {
        if (!panels[t]) continue;
        table.add(targets[t].group, {method, *panels[t]});
        if (command.cascade) explainer.keep_for_cascade(maps[t], its);
      }
    } catch (const Error& refused) {
      if (command.options.request.methods != "all") throw;
      left_out.insert(method);
      fmt::print(stderr, "left out: {}\n", refused.what());
    }
  }
  for (std::size_t t = 0; t < targets.size(); ++t) {
    for (const quality::PanelRow& row : explainer.score_controls(t)) {
      table.add(targets[t].group, row);
    }
  }
}

}  // namespace

void QualityTable::add(const std::string& group, const quality::PanelRow& row) {
  add_once(groups_, group);
  add_once(methods_, row.method);
  panels_[{group, row.method}].push_back(row.panel);
}

std::vector<std::string> QualityTable::methods() const {
  std::vector<std::string> methods = methods_;
  std::stable_partition(methods.begin(), methods.end(),
                        [](const std::string& m) { return !m.starts_with("control-"); });
  return methods;
}

const std::vector<quality::Panel>& QualityTable::panels(const std::string& group,
                                                        const std::string& method) const {
  static const std::vector<quality::Panel> kNone;
  const auto it = panels_.find({group, method});
  return it == panels_.end() ? kNone : it->second;
}

Json QualityTable::json(const std::string& group, const char* one, const char* many) const {
  const std::vector<std::string> names = methods();
  if (names.empty()) return {};
  Json metrics = Json::array(), rows = Json::array();
  for (const quality::MetricInfo& info : metrics_) {
    metrics.push_back({{"name", info.name}, {"better", info.better}, {"what", info.what}});
  }
  for (const std::string& method : names) {
    rows.push_back(
        {{"method", method},
         {"mean", quality::quality_json(quality::mean_of(panels(group, method)).mean, metrics_)}});
  }
  const std::size_t count = panels(group, names[0]).size();
  return {{"over", fmt::format("{} {}", count, count == 1 ? one : many)},
          {"metrics", metrics},
          {"methods", rows}};
}

namespace {

// What was looked at.
struct Looked {
  std::vector<std::int64_t> pictures;
  std::size_t targets = 0;
  double area = 0;  // of the masks, a share of the pictures
};

Looked explain_and_score(const Run& run, const BenchmarkCommand& command,
                         const ExplainOptions& options, PictureExplainer& explainer,
                         QualityTable& table) {
  DataRequest whole = command.data;
  whole.limit = 0;
  const RunData data = run.data(whole);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  Looked looked{spread(data.samples->size(), command.data.limit)};
  std::set<std::string> left_out;
  monitoring::ProgressBar progress("scoring", std::ssize(looked.pictures));
  for (std::size_t done = 0; done < looked.pictures.size(); ++done) {
    const std::string name = data.name(looked.pictures[done]);
    explainer.look_at(name, Choose::right);
    looked.targets += explainer.targets().size();
    if (!command.masks.empty()) {
      const quality::Mask mask = explainer.read_mask(mask_path(command, name));
      looked.area += mask.share() / static_cast<double>(looked.pictures.size());
      explainer.use_mask(mask);
    }
    PictureSettings settings(options.request, run.preprocess(), explainer.picture());
    score_picture(explainer, command, settings, table, left_out);
    progress.done(static_cast<std::int64_t>(done) + 1);
  }
  return looked;
}

// Every group's means, in the order of the classes; `rows` gets them as JSON.
std::string tables_text(const QualityTable& table, const std::vector<std::string>& classes,
                        Json& rows) {
  std::vector<std::string> groups = table.groups();
  std::sort(groups.begin(), groups.end(), [&](const std::string& a, const std::string& b) {
    const auto place = [&](const std::string& name) {
      return std::find(classes.begin(), classes.end(), name);
    };
    return place(a) < place(b);
  });
  std::string text;
  for (const std::string& group : groups) {
    const std::vector<quality::PanelRow> means = means_of(table, group, rows);
    if (!group.empty()) {
      const std::size_t count = table.panels(group, means[0].method).size();
      text += fmt::format("{}, {} box{}\n", group, count, count == 1 ? "" : "es");
    }
    text += quality::to_text(means, table.metrics());
    text += group.empty() ? "" : "\n";
  }
  return text;
}

}  // namespace

Answer benchmark_explanations(const Run& run, const BenchmarkCommand& command) {
  ExplainOptions options = command.options;
  options.score = true;
  options.data = command.data.folder;
  const std::unique_ptr<PictureExplainer> explainer = run.explainer(options);
  if (command.cascade && !explainer->of_classes()) {
    throw usage_error("--cascade is of a classifier's run, not of a detector's");
  }
  QualityTable table(explainer->metrics());
  const Looked looked = explain_and_score(run, command, options, *explainer, table);
  if (looked.targets == 0) {
    throw usage_error(
        "no box above --threshold {} lies on an object of its class in the {} {} "
        "pictures that were looked at",
        options.boxes.threshold, looked.pictures.size(), command.data.split);
  }
  if (command.cascade) explainer->run_cascade();

  Json rows = Json::array(), metrics;
  Answer answer;
  answer.text = tables_text(table, run.classes(), rows);
  answer.text +=
      fmt::format("\nmeans over {} pictures of {}", looked.pictures.size(), command.data.split);
  if (!command.masks.empty()) {
    answer.text +=
        fmt::format("; the masks cover {:.1f} % of the area, which is what a random map scores",
                    100 * looked.area);
  }
  answer.text += "\n";
  for (const quality::MetricInfo& info : table.metrics()) {
    metrics[std::string(info.name)] = info.what;
    if (!info.needs_mask || !command.masks.empty()) {
      answer.text += fmt::format("{:<12} {}\n", info.name, info.what);
    }
  }
  Json result = {{"run", run.asked().run},
                 {"data", command.data.folder},
                 {"split", command.data.split},
                 {"images", looked.pictures.size()},
                 {"mask_area", command.masks.empty() ? Json() : Json(looked.area)},
                 {"metrics", metrics},
                 {"methods", rows}};
  if (command.cascade) {
    result["cascade"] = explainer->cascade_json();
    answer.text +=
        "\nrank correlation with the model's own map, layers random from the output "
        "down\n" +
        explainer->cascade_text();
  }
  answer.json = json_text(result, 2);
  return answer;
}

}  // namespace tapescope::tasks
