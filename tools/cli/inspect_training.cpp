#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/cli/inspect.h"
#include "tools/files/json_text.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct InspectTrainingArguments {
  RunOptions run;
  std::string data;
  std::string on_bad_image = "fail";
  std::int64_t suspects = 10;
  bool json = false, all = false;
};

using Json = nlohmann::ordered_json;

int run(const InspectTrainingArguments& options) {
  options.run.apply();
  const monitoring::History history = monitoring::read_history(options.run.run);
  const std::vector<monitoring::Finding> findings = monitoring::diagnose(history);
  Json json;
  if (options.json) {
    json = Json::parse(monitoring::to_json(history, findings));
  } else {
    fmt::print("{}", monitoring::to_text(history, findings, options.all));
  }
  if (!options.data.empty()) {
    const auto opened = tasks::open_run(options.run);
    const tasks::Answer suspects =
        opened->suspects({options.data, "train", 0, bad_image_from(options.on_bad_image)},
                         options.suspects, options.run.backend());
    if (options.json) {
      json[opened->suspects_key()] = Json::parse(suspects.json);
    } else {
      fmt::print("{}", suspects.text);
    }
  }
  if (options.json) fmt::print("{}\n", json_text(json, 2));
  return 0;
}

std::function<int()> setup_inspect_training(CommandLine& line) {
  auto options = std::make_shared<InspectTrainingArguments>();
  options->run.add_to(line);
  options->run.add_allow_outside(line);
  line.option(
      "--data", options->data,
      "the data it was trained on: lists training images whose label, or boxes whose annotation, "
      "may be wrong");
  line.option("--suspects", options->suspects, "how many of them, at most")
      .show_default()
      .range(0, 1 << 20);
  line.flag("--all", options->all,
            "every epoch and parameter, not ten and the eight that change most oddly");
  line.option("--on-bad-image", options->on_bad_image,
              "fail or skip: what a picture of --data that cannot be read does; a run that was "
              "trained with skip skips")
      .show_default()
      .one_of({"fail", "skip"});
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectTraining = {
    "training", "losses, gradients, updates, and what they say is wrong",
    "tapescope inspect training --run runs/flowers --data flowers", setup_inspect_training};

}  // namespace tapescope::cli
