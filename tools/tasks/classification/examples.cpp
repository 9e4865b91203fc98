// --tracin and --nearest-examples.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/influence/influence.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/png.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/other_explanations.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Positions of the largest scores first, or of the smallest; equal ones in their order.
std::vector<std::size_t> ranked(const std::vector<double>& scores, bool largest) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return largest ? scores[a] > scores[b] : scores[a] < scores[b];
  });
  return order;
}

}  // namespace

std::string explain_by_examples(const OtherCommand& command, const ClassificationRun& run) {
  const OtherOptions& other = command.other;
  if (command.data.empty()) {
    throw usage_error("{} needs --data: the folder that the run was trained on",
                      other.tracin ? "--tracin" : "--nearest-examples");
  }
  // Before anything is computed: what the run must have.
  const std::vector<KeptCheckpoint> kept =
      other.tracin ? kept_checkpoints(run.asked().run) : std::vector<KeptCheckpoint>{};
  const DataSplits data = run.open({.folder = command.data, .split = "train"});
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  const auto pictures = data.split("train");
  const ImageSource source(pictures, run.preprocess().pipeline);
  const std::vector<std::int64_t> examples = spread(pictures->size(), other.examples);
  const Backend backend = command.backend;
  explain::Explainer explainer = explainer_of(run.class_logits(), backend, command.explanation);
  std::vector<Picture> asked;
  std::vector<Question> questions;
  for (const std::string& path : command.images) {
    asked.push_back(read_picture(path, run.preprocess()));
    const ClassTarget target =
        target_of(command.explanation, run.classes(), explainer.logits(asked.back().input));
    questions.push_back({asked.back().input, target.index});
  }
  int told = 0;
  const Done done = [&](double share) {
    if (100 * share < told + 10) return;
    told = static_cast<int>(100 * share);
    fmt::print(stderr, "{} % of {} examples\n", told, examples.size());
  };
  std::string node;
  std::vector<std::vector<double>> scores;
  if (other.tracin) {
    scores = tracin(kept, questions, source, examples, other.parameters, backend, done);
  } else {
    explain::LayerReader reader(run.class_logits().record, run.preprocess().image,
                                command.explanation.settings.layer, backend);
    node = reader.node();
    scores = likeness(reader, questions, source, examples, done);
  }
  ordered_json answers = ordered_json::array();
  std::vector<SheetCell> cells;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const std::string& target = run.classes()[static_cast<std::size_t>(questions[q].label)];
    command.say(fmt::format("{}: {}", printable(asked[q].path), target));
    ordered_json answer = {{"image", asked[q].path}, {"target", target}};
    const auto list = [&](const char* kind, bool largest) {
      ordered_json entries = ordered_json::array();
      cells.push_back({asked[q].image, target + ", " + kind});
      const std::vector<std::size_t> order = ranked(scores[q], largest);
      for (std::size_t i = 0; i < order.size() && i < static_cast<std::size_t>(other.shown); ++i) {
        const std::int64_t index = examples[order[i]];
        const double score = scores[q][order[i]];
        const std::string& label = data.classes[static_cast<std::size_t>(pictures->label(index))];
        entries.push_back({{"image", pictures->name(index)}, {"class", label}, {"score", score}});
        cells.push_back({copy_of(pictures->image(index)), fmt::format("{} {:.3g}", label, score)});
        command.say(fmt::format("  {:<10} {:>10.4g}  {:<12} {}", kind, score, label,
                                printable(pictures->name(index))));
      }
      while (cells.size() % static_cast<std::size_t>(other.shown + 1) != 0) cells.push_back({});
      answer[kind] = entries;
    };
    list(other.tracin ? "proponents" : "nearest", true);
    if (other.tracin) list("opponents", false);
    answers.push_back(answer);
  }
  const std::string method = other.tracin ? "tracin" : "nearest-examples";
  const std::string sheet = (fs::path(command.out) / (method + ".png")).string();
  SheetOptions layout;
  layout.cell_size = 128;
  layout.columns = static_cast<int>(other.shown + 1);
  write_png(sheet, contact_sheet(cells, layout));
  ordered_json result = {{"run", run.asked().run},
                         {"method", method},
                         {"examples", examples.size()},
                         {"answers", answers},
                         {"sheet", sheet}};
  if (other.tracin) {
    for (const KeptCheckpoint& k : kept) {
      result["checkpoints"].push_back({{"epoch", k.epoch}, {"learning_rate", k.rate}});
    }
    result["parameters"] = other.parameters.empty() ? "of the last layer" : other.parameters;
  } else {
    result["node"] = node;
  }
  write_atomically(fs::path(command.out) / (method + ".json"), json_text(result, 2) + "\n");
  command.say(sheet);
  return json_text(result, 2);
}

}  // namespace tapescope::tasks
