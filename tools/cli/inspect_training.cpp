#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/cli/inspect.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/voc_evaluation.h"
#include "tools/files/json_text.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/suspects.h"

namespace tapescope::cli {
namespace {

struct Options {
  RunOptions run;
  std::string data;
  std::string on_bad_image = "fail";
  std::int64_t suspects = 10;
  bool json = false, all = false;
};

using Json = nlohmann::ordered_json;

// Training images that are confidently taken for another class.
Json label_suspects(const Options& options, const LoadedModel& loaded) {
  DataOptions data_options = data_options_of(loaded.info, "train");
  data_options.skip_advised = true;
  if (options.on_bad_image == "skip") data_options.on_bad_image = BadImage::skip;
  const DataSplits splits = open_data(options.data, data_options);
  for (const std::string& notice : splits.notices) fmt::print(stderr, "{}\n", notice);
  const std::shared_ptr<const Dataset> data = splits.split("train");
  const std::vector<monitoring::Judged> suspects = monitoring::label_suspects(
      monitoring::judge_images(*loaded.model, loaded.info, data, options.run.backend()),
      static_cast<std::size_t>(options.suspects));
  Json list = Json::array();
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
  return list;
}

// Sure boxes on training images where nothing is annotated, or another class.
Json annotation_suspects(const Options& options, const InspectedModel& opened) {
  using namespace detection;
  constexpr double kSure = 0.6;
  const InspectedData data = opened.data(options.data, "train");
  const std::unique_ptr<Metrics> metrics =
      evaluate(opened.model(), *data.task, data.samples, 16, 2, options.run.backend());
  const auto& found = dynamic_cast<const DetectionMetrics&>(*metrics);
  const std::vector<Truth> truths = found.truths();
  const auto name = [&](int category) -> const std::string& {
    return opened.classes()[static_cast<std::size_t>(category)];
  };
  Json list = Json::array();
  std::string text;
  for (const JudgedBox& box : judge_boxes(truths, found.detections(), kSure).boxes) {
    const bool other = box.outcome == Outcome::classification;
    if (!other && box.outcome != Outcome::background) continue;
    if (list.size() == static_cast<std::size_t>(options.suspects)) break;
    const Detection& d = found.detections()[box.detection];
    const std::string annotated =
        other ? name(truths[static_cast<std::size_t>(box.truth)].category) : "";
    list.push_back({{"image", data.name(d.image)},
                    {"box", {d.box.x, d.box.y, d.box.w, d.box.h}},
                    {"annotated", other ? Json(annotated) : Json()},
                    {"predicted", name(d.category)},
                    {"probability", d.score}});
    text += fmt::format("  {}: {:.0f},{:.0f} of {:.0f}x{:.0f}: {}, taken for {} with {:.0f} %\n",
                        data.name(d.image), d.box.x, d.box.y, d.box.w, d.box.h,
                        other ? "annotated as " + annotated : "nothing annotated", name(d.category),
                        100 * d.score);
  }
  if (!options.json) {
    fmt::print("\nsure boxes on training images that the annotations contradict{}\n{}",
               list.empty() ? ": none" : " (are the annotations right?)", text);
  }
  return list;
}

int run(const Options& options) {
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
    const InspectedModel opened = open_model(options.run);
    if (opened.detector) {
      json["annotation_suspects"] = annotation_suspects(options, opened);
    } else {
      json["label_suspects"] = label_suspects(options, *opened.classifier);
    }
  }
  if (options.json) fmt::print("{}\n", json_text(json, 2));
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  options->run.add_allow_outside(app);
  app.add_option(
      "--data", options->data,
      "the data it was trained on: lists training images whose label, or boxes whose annotation, "
      "may be wrong");
  app.add_option("--suspects", options->suspects, "how many of them, at most")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--all", options->all,
               "every epoch and parameter, not ten and the eight that change most oddly");
  app.add_option("--on-bad-image", options->on_bad_image,
                 "fail or skip: what a picture of --data that cannot be read does; a run that was "
                 "trained with skip skips")
      ->capture_default_str()
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspectTraining = {
    "training", "losses, gradients, updates, and what they say is wrong",
    "tapescope inspect training --run runs/flowers --data flowers", setup};

}  // namespace tapescope::cli
