#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/cli/cli.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/localiser.h"
#include "tools/detection/detector_file.h"
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
  bool localise = false, json = false;
};

void print_json(const ClassificationMetrics& m, const std::vector<std::string>& classes) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (std::size_t c = 0; c < classes.size(); ++c) {
    rows.push_back({{"name", classes[c]},
                    {"precision", m.precision(c)},
                    {"recall", m.recall(c)},
                    {"support", m.support(c)}});
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"accuracy", m.score()},
                                            {"loss", m.loss()},
                                            {"images", m.images()},
                                            {"classes", rows},
                                            {"confusion", m.confusion()}}
                         .dump(2));
}

void print_table(const ClassificationMetrics& m, const std::vector<std::string>& classes) {
  std::size_t width = 5;
  for (const std::string& name : classes) width = std::max(width, name.size());
  fmt::print("accuracy {:.2f} %   loss {:.4f}   {} images\n\n", 100 * m.score(), m.loss(),
             m.images());
  fmt::print("{:<{}}  precision  recall  support\n", "class", width);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    fmt::print("{:<{}}  {:>8.1f}%  {:>5.1f}%  {:>7}\n", classes[c], width, 100 * m.precision(c),
               100 * m.recall(c), m.support(c));
  }
  fmt::print("\nconfusion (row: true class, column: predicted)\n{:<{}}", "", width);
  for (std::size_t c = 0; c < classes.size(); ++c) fmt::print(" {:>5}", c);
  fmt::print("\n");
  for (std::size_t c = 0; c < classes.size(); ++c) {
    fmt::print("{:<{}}", classes[c], width);
    for (std::int64_t count : m.confusion()[c]) fmt::print(" {:>5}", count);
    fmt::print("\n");
  }
}

int run(const Options& options) {
  options.run.apply();
  if (detection::is_detector(options.run.run, options.run.checkpoint)) {
    return eval_detector(options.run, options.data, options.split, options.batch_size,
                         options.json);
  }
  if (options.localise) {
    return eval_localisation(options.run, options.data, options.split, options.share,
                             options.target, options.json);
  }
  const LoadedModel loaded = load_model(options.run.run, options.run.checkpoint);
  DataOptions data_options = data_options_of(loaded.info, options.split);
  data_options.skip_advised = true;
  if (options.on_bad_image == "skip") data_options.on_bad_image = BadImage::skip;
  const DataSplits data = open_data(options.data, data_options);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  for (const std::string& bad : data.bad_images) fmt::print(stderr, "left out: {}\n", bad);
  const Classification task(loaded.info.config, {.name = loaded.info.loss});
  const std::unique_ptr<Metrics> metrics =
      evaluate(*loaded.model, task, data.split(options.split), loaded.info.pipeline,
               options.batch_size, options.loader_threads, options.run.backend());
  const auto& classification = dynamic_cast<const ClassificationMetrics&>(*metrics);
  options.json ? print_json(classification, loaded.info.classes)
               : print_table(classification, loaded.info.classes);
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
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
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kEval = {"eval", "accuracy, per-class precision and recall, confusion matrix",
                          "tapescope eval --run runs/flowers --data flowers", setup};

}  // namespace tapescope::cli
