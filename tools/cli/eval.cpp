#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/cli/cli.h"
#include "tools/cli/confusion.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/localiser.h"
#include "tools/detection/detector_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/monitoring/suspects.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {
namespace {

struct Options {
  RunOptions run;
  std::string data, split = "test", on_bad_image = "fail";
  std::int64_t batch_size = 64;
  int loader_threads = 2;
  double share = 0.6;
  std::string target = "predicted";
  bool localise = false, wrong = false, json = false;
};

// How much more probable the answer is than the true class.
double margin(const monitoring::Judged& j) { return j.predicted_probability - j.label_probability; }

// Wrong answers, the surest first.
std::vector<monitoring::Judged> wrong_of(std::vector<monitoring::Judged> judged) {
  std::erase_if(judged, [](const monitoring::Judged& j) { return j.label == j.predicted; });
  std::stable_sort(judged.begin(), judged.end(),
                   [](const monitoring::Judged& a, const monitoring::Judged& b) {
                     return margin(a) > margin(b);
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

void print_json(const Evaluated& evaluated) {
  const ClassificationMetrics& m = evaluated.metrics;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t c = 0; c < evaluated.classes.size(); ++c) {
    rows.push_back({{"name", evaluated.classes[c]},
                    {"precision", m.precision(c)},
                    {"recall", m.recall(c)},
                    {"support", m.support(c)}});
  }
  nlohmann::ordered_json json = {{"accuracy", m.score()},
                                 {"loss", m.loss()},
                                 {"images", m.images()},
                                 {"classes", rows},
                                 {"confusion", m.confusion()}};
  if (evaluated.wrong) {
    json["wrong"] = nlohmann::ordered_json::array();
    for (const monitoring::Judged& j : *evaluated.wrong) {
      json["wrong"].push_back({{"path", evaluated.data.name(j.index)},
                               {"label", evaluated.class_name(j.label)},
                               {"predicted", evaluated.class_name(j.predicted)},
                               {"probability", j.predicted_probability},
                               {"label_probability", j.label_probability},
                               {"margin", margin(j)}});
    }
  }
  fmt::print("{}\n", json_text(json, 2));
}

void print_table(const Evaluated& evaluated) {
  const ClassificationMetrics& m = evaluated.metrics;
  std::vector<std::string> classes;
  std::size_t width = 5;
  for (const std::string& name : evaluated.classes) {
    classes.push_back(printable(name));
    width = std::max(width, characters(classes.back()));
  }
  fmt::print("accuracy {:.2f} %   loss {:.4f}   {} images\n\n", 100 * m.score(), m.loss(),
             m.images());
  fmt::print("{}  precision  recall  support\n", padded("class", width));
  for (std::size_t c = 0; c < classes.size(); ++c) {
    fmt::print("{}  {:>8.1f}%  {:>5.1f}%  {:>7}\n", padded(classes[c], width), 100 * m.precision(c),
               100 * m.recall(c), m.support(c));
  }
  fmt::print("\n{}", confusion_text(m.confusion(), classes));
  if (!evaluated.wrong) return;
  fmt::print("\n{} wrong answers, the surest first\n", evaluated.wrong->size());
  if (evaluated.wrong->empty()) return;
  width = std::max<std::size_t>(width, 9);
  fmt::print("{}  {}  probability  margin  file\n", padded("true", width),
             padded("predicted", width));
  for (const monitoring::Judged& j : *evaluated.wrong) {
    fmt::print("{}  {}  {:>9.1f} %  {:>6.3f}  {}\n",
               padded(classes[static_cast<std::size_t>(j.label)], width),
               padded(classes[static_cast<std::size_t>(j.predicted)], width),
               100 * j.predicted_probability, margin(j), printable(evaluated.data.name(j.index)));
  }
}

int run(const Options& options) {
  options.run.apply();
  if (detection::is_detector(options.run.run, options.run.checkpoint)) {
    if (options.wrong) {
      throw usage_error(
          "--wrong is of a classifier's run; `report` shows a detector's wrong boxes");
    }
    return eval_detector(options.run, options.data, options.split, options.batch_size,
                         bad_image_from(options.on_bad_image), options.json);
  }
  if (options.localise) {
    if (options.wrong) throw usage_error("--wrong and --localise exclude each other");
    return eval_localisation(options.run, options.data, options.split, options.share,
                             options.target, options.json);
  }
  const LoadedModel loaded = options.run.classifier();
  DataOptions data_options = data_options_of(loaded.info, options.split);
  data_options.skip_advised = true;
  if (options.on_bad_image == "skip") data_options.on_bad_image = BadImage::skip;
  const DataSplits data = open_data(options.data, data_options);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images)
    fmt::print(stderr, "left out: {}\n", printable(bad));
  const Classification task(loaded.info.config, {.name = loaded.info.loss});
  const std::unique_ptr<Metrics> metrics =
      evaluate(*loaded.model, task, data.split(options.split), loaded.info.pipeline,
               options.batch_size, options.loader_threads, options.run.backend());
  const auto split = data.split(options.split);
  Evaluated evaluated{
      dynamic_cast<const ClassificationMetrics&>(*metrics), loaded.info.classes, *split, {}};
  if (options.wrong) {
    evaluated.wrong = wrong_of(
        monitoring::judge_images(*loaded.model, loaded.info, split, options.run.backend()));
  }
  options.json ? print_json(evaluated) : print_table(evaluated);
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  options->run.add_allow_outside(app);
  app.add_option(
         "--data", options->data,
         "folder with the split; a detector's is Pascal VOC, COCO or YOLO (or its data.yaml)")
      ->required();
  app.add_option("--split", options->split, "train, validation or test")->capture_default_str();
  app.add_option("--batch-size", options->batch_size)
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--loader-threads", options->loader_threads)->capture_default_str();
  app.add_option("--on-bad-image", options->on_bad_image, "fail or skip")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_flag("--localise", options->localise,
               "of a classifier's run: --data is annotated with boxes; how well those of the class "
               "maps lie");
  app.add_option("--share", options->share, "of --localise: as `detect` takes it")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--target", options->target, "of --localise: as `detect` takes it")
      ->capture_default_str();
  app.add_flag("--wrong", options->wrong,
               "also list the files answered wrongly: true class, answer, its probability, and the "
               "margin between the two");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kEval = {"eval", "accuracy, per-class precision and recall, confusion matrix",
                          "tapescope eval --run runs/flowers --data flowers --wrong", setup};

}  // namespace tapescope::cli
