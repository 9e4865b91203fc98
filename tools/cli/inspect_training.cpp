#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/cli/inspect.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/suspects.h"

namespace tapescope::cli {
namespace {

struct Options {
  RunOptions run;
  std::string data;
  std::int64_t suspects = 10;
  bool json = false;
};

int run(const Options& options) {
  options.run.apply();
  const monitoring::History history = monitoring::read_history(options.run.run);
  const std::vector<monitoring::Finding> findings = monitoring::diagnose(history);
  nlohmann::ordered_json json;
  if (options.json) {
    json = nlohmann::ordered_json::parse(monitoring::to_json(history, findings));
  } else {
    fmt::print("{}", monitoring::to_text(history, findings));
  }
  if (!options.data.empty()) {
    const LoadedModel loaded = load_model(options.run.run, options.run.checkpoint);
    const DataSplits splits = open_data(options.data, data_options_of(loaded.info, "train"));
    const std::shared_ptr<const Dataset> data = splits.split("train");
    const std::vector<monitoring::Judged> suspects = monitoring::label_suspects(
        monitoring::judge_images(*loaded.model, loaded.info, data, options.run.backend()),
        static_cast<std::size_t>(options.suspects));
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    if (!options.json) {
      fmt::print("\ntraining images that are confidently taken for another class{}\n",
                 suspects.empty() ? ": none" : " (is the label right?)");
    }
    for (const monitoring::Judged& j : suspects) {
      const std::string& label = loaded.info.classes[static_cast<std::size_t>(j.label)];
      const std::string& other = loaded.info.classes[static_cast<std::size_t>(j.predicted)];
      list.push_back({{"image", data->name(j.index)},
                      {"label", label},
                      {"predicted", other},
                      {"probability", j.predicted_probability},
                      {"loss", j.loss}});
      if (!options.json) {
        fmt::print("  {}: labelled {}, taken for {} with {:.0f} %\n", data->name(j.index), label,
                   other, 100 * j.predicted_probability);
      }
    }
    json["label_suspects"] = list;
  }
  if (options.json) fmt::print("{}\n", json.dump(2));
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option("--data", options->data,
                 "the data it was trained on: lists training images whose label may be wrong");
  app.add_option("--suspects", options->suspects, "how many of them, at most")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectTraining = {
    "training", "losses, gradients, updates, and what they say is wrong",
    "tapescope inspect training --run runs/flowers --data flowers", setup};

}  // namespace tapescope::cli
