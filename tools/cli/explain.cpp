#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/explain/explainer.h"
#include "tools/cli/baselines.h"
#include "tools/cli/cli.h"
#include "tools/cli/pictures.h"
#include "tools/report/colormap.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"
#include "tools/training/atomic_file.h"
#include "tools/training/safetensors.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kColumns = 8;  // of the sheet

struct Options {
  RunOptions run;
  std::vector<std::string> images;
  std::string methods = "all", target = "predicted", out;
  std::string baseline, quadrature = "midpoint";
  explain::ExplainOptions settings;
  bool json = false, list = false;
};

// Methods whose answer is a mean over references get several unless told otherwise.
std::string baseline_names(const Options& options, std::string_view method) {
  if (!options.baseline.empty()) return options.baseline;
  const bool several = method == "gradient-shap" || method == "deeplift-shap";
  return several ? "black,white,blur,noise" : "zero";
}

explain::PathRule path_rule(const std::string& name) {
  if (name == "trapezoid") return explain::PathRule::trapezoid;
  return name == "gauss-legendre" ? explain::PathRule::gauss_legendre : explain::PathRule::midpoint;
}

int list_methods(const Options& options) {
  nlohmann::ordered_json methods = nlohmann::ordered_json::array();
  for (const explain::MethodInfo& info : explain::all_methods()) {
    if (options.json) {
      methods.push_back({{"method", info.name},
                         {"paper", info.paper},
                         {"cost", info.cost},
                         {"needs", info.needs},
                         {"blind_to", info.blind_to}});
      continue;
    }
    fmt::print("{}\n", info.name);
    if (!info.paper.empty()) fmt::print("  paper     {}\n", info.paper);
    fmt::print("  cost      {} (in forward passes)\n", info.cost);
    if (!info.needs.empty()) fmt::print("  needs     {}\n", info.needs);
    fmt::print("  blind to  {}\n", info.blind_to);
  }
  if (options.json) fmt::print("{}\n", nlohmann::ordered_json{{"methods", methods}}.dump(2));
  return 0;
}

std::vector<std::string> chosen_methods(const std::string& text) {
  if (text != "all") return comma_separated(text);
  const auto& all = explain::Explainer::methods();
  return {all.begin(), all.end()};
}

std::int64_t target_class(const Options& options, const LoadedModel& loaded, const Tensor& logits) {
  const auto scores = logits.values<float>();
  if (options.target == "predicted") {
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  }
  const auto& classes = loaded.info.classes;
  const auto found = std::find(classes.begin(), classes.end(), options.target);
  if (found == classes.end()) {
    throw usage_error("--target '{}' is no class of this model; they are {}", options.target,
                      fmt::join(classes, ", "));
  }
  return found - classes.begin();
}

// Channels added up: that keeps a complete map complete. {1,h,w,C} to h x w.
Map shown_map(const Tensor& map) {
  const Shape& s = map.shape();
  std::vector<float> sums(static_cast<std::size_t>(s[1] * s[2]), 0.0f);
  const auto values = map.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[i / static_cast<std::size_t>(s[3])] += values[i];
  }
  return Map(static_cast<int>(s[1]), static_cast<int>(s[2]), sums);
}

nlohmann::ordered_json number(const Tensor& tensor) {
  return tensor.defined() ? nlohmann::ordered_json(tensor.item()) : nlohmann::ordered_json();
}

// Whether nothing in a class activation map speaks for the class: its usual ReLU would leave an
// empty picture.
bool nothing_positive(const Tensor& map) {
  const auto values = map.values<float>();
  return std::none_of(values.begin(), values.end(), [](float v) { return v > 0; });
}

int run(const Options& options) {
  if (options.list) return list_methods(options);
  if (options.run.run.empty()) {
    throw usage_error("--run is required: the run directory of `tapescope train`");
  }
  if (options.images.empty()) throw usage_error("no picture given: name at least one file");
  if (options.out.empty()) throw usage_error("--out is required: a folder for pictures and arrays");
  options.run.apply();
  const LoadedModel loaded = load_model(options.run.run, options.run.checkpoint);
  const ModelConfig& config = loaded.info.config;
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) {
    throw usage_error("--out '{}' cannot be made: {}; choose another folder", options.out,
                      error.message());
  }
  const Backend backend = options.run.backend();
  move_to(backend.device, loaded.model->parameters());
  explain::Explainer explainer(
      [&](Tape& tape, Var image) {
        return (*loaded.model)(tape, {{"image", image}}).at("logits");
      },
      {config.image_size, config.image_size, config.channels}, backend.device, backend.choices);
  const std::vector<std::string> methods = chosen_methods(options.methods);
  nlohmann::ordered_json maps = nlohmann::ordered_json::array();
  std::vector<SheetCell> cells;
  std::vector<StoredTensor> stored;
  std::size_t per_image = 0;
  std::set<std::string> said;  // methods that were left out
  for (const std::string& path : options.images) {
    const Picture picture = read_picture(path, loaded.info);
    const std::int64_t index = target_class(options, loaded, explainer.logits(picture.input));
    const Tensor classes = Tensor::from<std::int64_t>({1}, {index});
    const std::string& class_name = loaded.info.classes[static_cast<std::size_t>(index)];
    const std::size_t first = cells.size();
    std::map<std::string, std::vector<Tensor>> starts;  // of this picture, by name
    cells.push_back({picture.image, picture.stem});
    for (const std::string& method : methods) {
      explain::ExplainOptions settings = options.settings;
      settings.rule = path_rule(options.quadrature);
      const std::string start = baseline_names(options, method);
      const auto [made, fresh] = starts.try_emplace(start);
      if (fresh) made->second = baselines(start, picture, loaded.info, settings.seed);
      settings.baselines = made->second;
      explain::Attribution result;
      try {
        result = explainer.explain(method, picture.input, classes, settings);
      } catch (const Error& refused) {
        // Asked for all, a method that this model does not admit is left out and said so.
        if (options.methods != "all") throw;
        if (said.insert(method).second) fmt::print(stderr, "left out: {}\n", refused.what());
        continue;
      }
      const std::string stem = (fs::path(options.out) / picture.stem).string() + "." + method;
      write_npy(stem + ".npy", result.map);
      stored.push_back({picture.stem + "." + method, result.map});
      std::string png;  // units of a dense layer lie nowhere in the picture
      Image shown;
      if (result.map.shape().rank() == 4) {
        const Map map = shown_map(result.map);
        shown = overlay(picture.image, map, Colors::diverging);
        png = stem + ".png";
        write_png(png, with_color_bar(shown, Colors::diverging, range_of(map, Colors::diverging)));
      }
      cells.push_back({shown, method + ": " + class_name});
      const bool empty = result.map.shape().rank() == 4 && nothing_positive(result.map);
      if (empty) {
        fmt::print(stderr, "{}: {} has nothing that speaks for '{}'\n", path, method, class_name);
      }
      maps.push_back({{"image", path},
                      {"method", method},
                      {"target", class_name},
                      {"node", result.node},
                      {"value", number(result.value)},
                      {"residual", number(result.residual)},
                      {"error_estimate", number(result.error_estimate)},
                      {"forward_passes", result.forward_passes},
                      {"nothing_positive", empty},
                      {"baseline", start},
                      {"png", png},
                      {"npy", stem + ".npy"}});
      if (!options.json) {
        fmt::print("{}: {} of '{}' at {}, {:.3g} forward passes: {}\n", path, method, class_name,
                   result.node, result.forward_passes, png.empty() ? stem + ".npy" : png);
      }
    }
    // Each picture begins a row of the sheet.
    per_image = std::max(per_image, cells.size() - first);
    while (per_image > kColumns && (cells.size() - first) % kColumns != 0) cells.push_back({});
  }
  const std::string sheet = (fs::path(options.out) / "sheet.png").string();
  SheetOptions layout;
  layout.cell_size = 168;  // wide enough for the methods' names
  layout.columns = static_cast<int>(std::min(per_image, kColumns));
  write_png(sheet, contact_sheet(cells, layout));
  write_safetensors(fs::path(options.out) / "maps.safetensors", stored);
  const nlohmann::ordered_json scores = {{"run", options.run.run},
                                         {"checkpoint", options.run.checkpoint},
                                         {"settings",
                                          {{"layer", options.settings.layer},
                                           {"quadrature", options.quadrature},
                                           {"steps", options.settings.steps},
                                           {"draws", options.settings.draws},
                                           {"noise", options.settings.noise},
                                           {"window", options.settings.window},
                                           {"stride", options.settings.stride},
                                           {"grid", options.settings.grid},
                                           {"budget", options.settings.budget},
                                           {"seed", options.settings.seed}}},
                                         {"maps", maps},
                                         {"sheet", sheet}};
  write_atomically(fs::path(options.out) / "scores.json", scores.dump(2) + "\n");
  if (options.json) {
    fmt::print("{}\n", scores.dump(2));
  } else {
    fmt::print("all of them: {}\n", sheet);
  }
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app, false);
  app.add_option("images", options->images, "picture files")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--method", options->methods,
                 "names from --list, several with commas, or all that the model admits")
      ->capture_default_str();
  app.add_flag("--list", options->list, "print every method's paper, cost, needs and blind spot");
  app.add_option("--target", options->target, "predicted, or the name of a class")
      ->capture_default_str();
  explain::ExplainOptions& settings = options->settings;
  app.add_option("--layer", settings.layer,
                 "node that the CAM and layer methods look at; default: the last feature map");
  app.add_option("--baseline", options->baseline,
                 "what paths and references start from: black, white, noise, mean, blur or zero, "
                 "several with commas; default: zero, of the shap methods black,white,blur,noise");
  app.add_option("--quadrature", options->quadrature, "of integrated gradients")
      ->capture_default_str()
      ->check(CLI::IsMember({"midpoint", "trapezoid", "gauss-legendre"}));
  app.add_option("--steps", settings.steps, "points on a path")
      ->capture_default_str()
      ->check(CLI::Range(3, 1000000));
  app.add_option("--draws", settings.draws, "samples of the methods that draw")
      ->capture_default_str()
      ->check(CLI::Range(2, 1000000));
  app.add_option("--window", settings.window,
                 "occlusion's window in pixels; 0: an eighth of the shorter side")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--stride", settings.stride, "occlusion's step in pixels; 0: half a window")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  app.add_option("--grid", settings.grid, "features of ablation and shapley: grid x grid cells")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--noise", settings.noise, "SmoothGrad's, as a share of the picture's range")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 10.0));
  app.add_option("--seed", settings.seed, "of what is drawn")->capture_default_str();
  app.add_option("--budget", settings.budget, "most forward passes a map")
      ->capture_default_str()
      ->check(CLI::Range(10.0, 1e9));
  app.add_option("--out", options->out, "folder for pictures and arrays");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kExplain = {
    "explain", "where in the picture the answer came from",
    "tapescope explain --run runs/flowers rose.jpg --method grad-cam --out maps", setup};

}  // namespace tapescope::cli
