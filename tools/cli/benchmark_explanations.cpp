#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/cli/cascade.h"
#include "tools/cli/cli.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/explanation_options.h"
#include "tools/cli/judge.h"
#include "tools/cli/judge_json.h"
#include "tools/cli/picture_files.h"
#include "tools/detection/detector_file.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  RunOptions run;
  ExplanationOptions explanation;
  std::string data, masks, split = "test", out;
  std::int64_t limit = 20;
  bool cascade = false, json = false;
};

// The mask of DATA/<where>/<name>.jpg is MASKS/<where>/<name>.png.
std::string mask_path(const Options& options, const std::string& picture) {
  const fs::path relative = fs::path(picture).lexically_relative(options.data);
  const fs::path mask = (fs::path(options.masks) / relative).replace_extension(".png");
  if (!fs::exists(mask)) {
    throw usage_error("picture '{}' has no mask '{}'; --masks must mirror --data, with .png files",
                      picture, mask.string());
  }
  return mask.string();
}

struct Rows {  // of all pictures, by method, in the order of the methods
  std::vector<std::string> methods;
  std::map<std::string, std::vector<quality::Panel>> panels;
  void add(const quality::PanelRow& row) {
    if (panels[row.method].empty()) methods.push_back(row.method);
    panels[row.method].push_back(row.panel);
  }
};

int run(const Options& options) {
  InputFiles inputs = files_of(options.run);
  for (const std::string& path : {options.data, options.masks}) inputs.add(path);
  if (!options.out.empty()) inputs.expect_apart("--out", options.out);
  options.run.apply();
  if (detection::is_detector(options.run.run, options.run.checkpoint)) {
    return benchmark_boxes(
        {options.run, options.explanation, {}, options.data, options.out, options.json},
        options.split, options.limit);
  }
  const LoadedModel loaded = options.run.classifier();
  const DataSplits data = open_data(options.data, data_options_of(loaded.info, options.split));
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  const auto pictures = data.split(options.split);
  const Backend backend = options.run.backend();
  explain::Explainer explainer = explainer_of(loaded, backend, options.explanation);
  Judge judge(explainer, loaded, backend, options.explanation);
  const std::vector<std::int64_t> chosen = spread(pictures->size(), options.limit);
  Rows rows;
  Cascade cascade;
  std::set<std::string> left_out;
  double area = 0;
  for (std::size_t done = 0; done < chosen.size(); ++done) {
    const std::string name = pictures->name(chosen[done]);
    const Picture picture = read_picture(name, loaded.info);
    PictureSettings picture_settings(options.explanation, loaded.info, picture);
    const Target target =
        target_of(options.explanation, loaded.info, explainer.logits(picture.input));
    const std::int64_t index = target.index;
    std::optional<quality::Mask> mask;
    if (!options.masks.empty()) {
      mask = read_mask(mask_path(options, name), picture, loaded.info);
      area += mask->share() / static_cast<double>(chosen.size());
    }
    judge.look_at(picture, index, mask);
    for (const std::string& method : options.explanation.chosen_methods()) {
      if (left_out.contains(method)) continue;
      const explain::ExplainOptions settings = picture_settings.of(method);
      try {
        const Tensor classes = Tensor::from<std::int64_t>({1}, {index});
        const explain::Attribution map =
            explainer.explain(method, picture.input, classes, settings);
        const auto row = judge.score(map, settings);
        if (row) rows.add(*row);
        if (row && options.cascade) cascade.add(map, picture.input, classes, settings);
      } catch (const Error& refused) {
        if (options.explanation.methods != "all") throw;
        left_out.insert(method);
        fmt::print(stderr, "left out: {}\n", refused.what());
      }
    }
    for (const quality::PanelRow& row : judge.score_controls()) rows.add(row);
    fmt::print(stderr, "{} of {}: {}\n", done + 1, chosen.size(), printable(name));
  }
  if (options.cascade) cascade.run(loaded, backend, options.explanation);
  // Controls stand last, whenever they were scored.
  std::stable_partition(rows.methods.begin(), rows.methods.end(),
                        [](const std::string& m) { return !m.starts_with("control-"); });
  std::vector<quality::PanelRow> means;
  nlohmann::ordered_json table = nlohmann::ordered_json::array();
  for (const std::string& method : rows.methods) {
    const quality::PanelMean mean = quality::mean_of(rows.panels[method]);
    means.push_back({method, mean.mean});
    table.push_back({{"method", method},
                     {"mean", quality_json(mean.mean)},
                     {"standard_error", quality_json(mean.standard_error)}});
  }
  nlohmann::ordered_json metrics;
  for (const quality::MetricInfo& info : quality::all_metrics()) {
    metrics[std::string(info.name)] = info.what;
  }
  nlohmann::ordered_json result = {
      {"run", options.run.run},
      {"data", options.data},
      {"split", options.split},
      {"images", chosen.size()},
      {"mask_area",
       options.masks.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(area)},
      {"metrics", metrics},
      {"methods", table}};
  if (options.cascade) result["cascade"] = cascade.json();
  if (!options.out.empty()) write_atomically(options.out, json_text(result, 2) + "\n");
  if (options.json) {
    fmt::print("{}\n", json_text(result, 2));
    return 0;
  }
  fmt::print("{}", quality::to_text(means));
  fmt::print("\nmeans over {} pictures of {}", chosen.size(), options.split);
  if (!options.masks.empty()) {
    fmt::print("; the masks cover {:.1f} % of the area, which is what a random map scores",
               100 * area);
  }
  fmt::print("\n");
  for (const quality::MetricInfo& info : quality::all_metrics()) {
    if (!info.needs_mask || !options.masks.empty()) fmt::print("{:<12} {}\n", info.name, info.what);
  }
  if (options.cascade) {
    fmt::print(
        "\nrank correlation with the model's own map, layers random from the output down\n{}",
        cascade.text());
  }
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  options->run.add_allow_outside(app);
  options->explanation.add_to(app);
  options->explanation.methods = "saliency,integrated-gradients,lrp-epsilon-plus,grad-cam";
  app.add_option(
         "--data", options->data,
         "folder with the split; a detector's is Pascal VOC, COCO or YOLO (or its data.yaml)")
      ->required();
  app.add_option("--masks", options->masks,
                 "folder that mirrors --data, with .png files white where the cause is");
  app.add_option("--split", options->split, "train, validation or test")->capture_default_str();
  app.add_option("--limit", options->limit, "pictures, spread over the split; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_flag(
      "--cascade", options->cascade,
      "also make the layers random one by one, from the output down, and say how alike the "
      "maps stay: a map that does not change does not show what was learnt");
  app.add_option("--out", options->out, "JSON file to write the table to");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kBenchmarkExplanations = {
    "benchmark-explanations", "which explanations of a run are good, method by metric",
    "tapescope benchmark-explanations --run runs/flowers --data flowers --limit 10", setup};

}  // namespace tapescope::cli
