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

// What is asked of the training data, and the data.
struct Asked {
  std::vector<Picture> pictures;
  std::vector<Question> questions;
  std::shared_ptr<const Dataset> data;
  std::vector<std::string> labels;     // the data's classes
  std::vector<std::int64_t> examples;  // of the data
};

Asked asked_of(const OtherCommand& command, const ClassificationRun& run) {
  const DataSplits data = run.open({.folder = command.data, .split = "train"});
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  Asked asked{{}, {}, data.split("train"), data.classes, {}};
  asked.examples = spread(asked.data->size(), command.other.examples);
  explain::Explainer explainer =
      explainer_of(run.class_logits(), command.backend, command.explanation);
  for (const std::string& path : command.images) {
    asked.pictures.push_back(read_picture(path, run.preprocess()));
    const Tensor& input = asked.pictures.back().input;
    const ClassTarget target =
        target_of(command.explanation, run.classes(), explainer.logits(input));
    asked.questions.push_back({input, target.index});
  }
  return asked;
}

// Tells, keeps and draws the examples with the highest scores of one question, or the lowest.
ordered_json list(const char* kind, bool largest, const Asked& asked,
                  const std::vector<double>& scores, const OtherCommand& command,
                  std::vector<SheetCell>& cells) {
  const auto shown = static_cast<std::size_t>(command.other.shown);
  ordered_json entries = ordered_json::array();
  const std::vector<std::size_t> order = ranked(scores, largest);
  for (std::size_t i = 0; i < order.size() && i < shown; ++i) {
    const std::int64_t index = asked.examples[order[i]];
    const double score = scores[order[i]];
    const std::string name = asked.data->name(index);
    const std::string& label = asked.labels[static_cast<std::size_t>(asked.data->label(index))];
    entries.push_back({{"image", name}, {"class", label}, {"score", score}});
    cells.push_back({copy_of(asked.data->image(index)), fmt::format("{} {:.3g}", label, score)});
    command.say(fmt::format("  {:<10} {:>10.4g}  {:<12} {}", kind, score, label, printable(name)));
  }
  while (cells.size() % (shown + 1) != 0) cells.push_back({});
  return entries;
}

// Every question's; `sheet` gets them as pictures.
ordered_json answers_of(const Asked& asked, const std::vector<std::vector<double>>& scores,
                        const OtherCommand& command, const ClassificationRun& run,
                        const std::string& sheet) {
  ordered_json answers = ordered_json::array();
  std::vector<SheetCell> cells;
  for (std::size_t q = 0; q < asked.questions.size(); ++q) {
    const Picture& picture = asked.pictures[q];
    const std::string& target = run.classes()[static_cast<std::size_t>(asked.questions[q].label)];
    command.say(fmt::format("{}: {}", printable(picture.path), target));
    ordered_json answer = {{"image", picture.path}, {"target", target}};
    for (const char* kind : command.other.tracin
                                ? std::vector<const char*>{"proponents", "opponents"}
                                : std::vector<const char*>{"nearest"}) {
      cells.push_back({picture.image, target + ", " + kind});
      const bool largest = std::string_view(kind) != "opponents";
      answer[kind] = list(kind, largest, asked, scores[q], command, cells);
    }
    answers.push_back(answer);
  }
  SheetOptions layout;
  layout.cell_size = 128;
  layout.columns = static_cast<int>(command.other.shown + 1);
  write_png(sheet, contact_sheet(cells, layout));
  return answers;
}

}  // namespace

std::string explain_by_examples(const OtherCommand& command, const ClassificationRun& run) {
  const OtherOptions& other = command.other;
  const std::string method = other.tracin ? "tracin" : "nearest-examples";
  if (command.data.empty()) {
    throw usage_error("--{} needs --data: the folder that the run was trained on", method);
  }
  // Before anything is computed: what the run must have.
  const std::vector<KeptCheckpoint> kept =
      other.tracin ? kept_checkpoints(run.asked().run) : std::vector<KeptCheckpoint>{};
  const Asked asked = asked_of(command, run);
  const ImageSource source(asked.data, run.preprocess().pipeline);
  int told = 0;
  const Done done = [&](double share) {
    if (100 * share < told + 10) return;
    told = static_cast<int>(100 * share);
    fmt::print(stderr, "{} % of {} examples\n", told, asked.examples.size());
  };
  std::string node;
  std::vector<std::vector<double>> scores;
  if (other.tracin) {
    scores = tracin(kept, asked.questions, source, asked.examples, other.parameters,
                    command.backend, done);
  } else {
    explain::LayerReader reader(run.class_logits().record, run.preprocess().image,
                                command.explanation.settings.layer, command.backend);
    node = reader.node();
    scores = likeness(reader, asked.questions, source, asked.examples, done);
  }
  const std::string sheet = (fs::path(command.out) / (method + ".png")).string();
  ordered_json result = {{"run", run.asked().run},
                         {"method", method},
                         {"examples", asked.examples.size()},
                         {"answers", answers_of(asked, scores, command, run, sheet)},
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
